"""Named text styles, from the sixteen standard colours, which every terminal's theme defines."""

from __future__ import annotations

from rich.text import Text

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
    "missing": BAD,
    "failed": BAD,
}
"""By the state of an article."""


def badge(word: str, colour: str) -> Text:
    """A badge with a blank behind it: readable text on a coloured background; empty without a word.

    Args:
        word: Safe for a terminal, in one line.
        colour: Of the background.
    """
    style = f"bold {'black' if colour in ('green', 'yellow', 'cyan') else 'white'} on {colour}"
    return Text.assemble((f" {word.upper()} ", style), " ") if word else Text()
