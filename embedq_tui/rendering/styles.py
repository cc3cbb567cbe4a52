"""Styles of text by name: of the sixteen colours, which every terminal has in a form that suits its owner."""

from __future__ import annotations

BAD, DOUBTFUL, GOOD, QUIET, HEAD, NAME = "red", "yellow", "green", "dim", "bold", "cyan"

STATUS_STYLES = {"pending": "cyan", "processing": "yellow", "completed": "green", "failed": "red"}
PRIORITY_STYLES = {"high": "bold", "normal": "", "low": "dim"}


def badge_style(colour: str) -> str:
    """Of a word on a colour, so that it can be read."""
    return f"bold {'black' if colour in ('green', 'yellow', 'cyan') else 'white'} on {colour}"
