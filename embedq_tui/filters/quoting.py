"""What the texts of all filters have in common: their characters, and values in them."""

from __future__ import annotations

import re

from embedq_worker.errors import UsageError


def refuse_unprintable(text: str) -> None:
    """Refuse what no filter can hold.

    Raises:
        UsageError: It is not one line of printable characters.
    """
    if not text.isprintable():
        raise UsageError("a filter is one line of printable characters")


def quoted(text: str) -> str:
    """A value as a filter is written: in double quotes where it would not be read as one word."""
    if re.fullmatch(r'[^\s"\\]+', text):
        return text
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
