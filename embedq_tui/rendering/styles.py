"""Named text styles, from the sixteen standard colours, which every terminal's theme defines."""

from __future__ import annotations

BAD, DOUBTFUL, GOOD, QUIET, HEAD, NAME = "red", "yellow", "green", "dim", "bold", "cyan"

STATUS_STYLES = {"pending": "cyan", "processing": "yellow", "completed": "green", "failed": "red"}
PRIORITY_STYLES = {"high": "bold", "normal": "", "low": "dim"}
ARTICLE_STYLES = {
    "queued": "cyan",
    "embedded": GOOD,
    "empty": QUIET,
    "excluded": QUIET,
    "stale": DOUBTFUL,
    "model": DOUBTFUL,
    "unknown": DOUBTFUL,
    "missing": BAD,
    "failed": BAD,
}
"""By the state of an article: in the list that of its backlog, in details that of its embeddings."""


def badge_style(colour: str) -> str:
    """Style of a badge: readable text on a coloured background."""
    return f"bold {'black' if colour in ('green', 'yellow', 'cyan') else 'white'} on {colour}"
