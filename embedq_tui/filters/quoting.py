"""What the texts of all filters have in common: their characters, words and values in them."""

from __future__ import annotations

import re
from collections.abc import Iterable

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


def word_of(key: str, text: str, known: Iterable[str]) -> str:
    """One of a few words; its beginning will do.

    Args:
        key: Of the term, for the complaint.
        text: As an operator wrote it.
        known: The words there are.

    Raises:
        UsageError: It is none of them, or may be several.
    """
    words = list(known)
    found = [word for word in words if word == text.lower()] or [
        word for word in words if text and word.startswith(text.lower())
    ]
    if len(found) != 1:
        raise UsageError(f"{key}: is one of {', '.join(words)}, not {text or 'nothing'}")
    return found[0]
