"""What all filter syntaxes share: allowed characters, quoting, and words from a fixed set."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from embedq_worker.errors import UsageError


def refuse_unprintable(text: str) -> None:
    """Refuse text that no filter can contain.

    Raises:
        UsageError: It is not one line of printable characters.
    """
    if not text.isprintable():
        raise UsageError("a filter must be one line of printable characters")


_ELSEWHERE = (
    *("article", "error", "folder", "group", "id", "kind", "level", "message", "operation", "operator"),
    *("priority", "slug", "state", "status", "task", "text", "title", "until", "worker"),
)
"""Keys of other filters, and words that look like one."""


def refuse_key(term: str, known: Iterable[str]) -> None:
    """Refuse a term with an unknown key where a term may be any word: ``slug:intro``, but not ``http://a``.

    Args:
        term: As typed by the operator.
        known: The keys of this filter.

    Raises:
        UsageError: The term begins with a key of another filter, or with a misspelt one.
    """
    key, colon, value = term.partition(":")
    keys = list(known)
    if colon and not value.startswith(" ") and (key in _ELSEWHERE or get_close_matches(key, keys)):
        raise UsageError(
            f"unknown key {key!r}: use one of {', '.join(keys)}; words are searched for as they are"
        )


def quoted(text: str) -> str:
    """Quote a value for a filter: in double quotes if it would not be read as one word."""
    if re.fullmatch(r'[^\s"\\]+', text):
        return text
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def word_of(key: str, text: str, known: Iterable[str]) -> str:
    """Match a word from a fixed set; an unambiguous prefix is enough.

    Args:
        key: The term's key, for the error message.
        text: As typed by the operator.
        known: The accepted words.

    Raises:
        UsageError: It matches none of them, or more than one.
    """
    words = list(known)
    found = [word for word in words if word == text.lower()] or [
        word for word in words if text and word.startswith(text.lower())
    ]
    if len(found) != 1:
        raise UsageError(f"{key}: must be one of {', '.join(words)}, not {text or 'empty'}")
    return found[0]
