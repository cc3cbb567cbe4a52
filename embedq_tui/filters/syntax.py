"""What the filters of tasks, articles and the audit log share: terms, quoting, fixed words, completion.

A filter is one line of terms, separated by spaces. A term is ``key:value``, or a bare word. What is in double
quotes is one value, in which a backslash stands before a quote or a backslash.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import TypeAlias

from embedq_worker.errors import UsageError

Reader: TypeAlias = Callable[[str, int], tuple[str, int]]
"""Reads the value of a term from a place in a text on; returns it with the place where it ends."""

_KEY = re.compile(r"([a-z]+):")
_PLAIN = re.compile(r'[^\s"]+')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


def terms(
    text: str, keys: Container[str], readers: Mapping[str, Reader] = MappingProxyType({})
) -> Iterator[tuple[str, str]]:
    """Split a filter into its terms.

    Args:
        text: As typed by the operator.
        keys: The keys of this filter; anything else before a colon is part of a bare word.
        readers: Of values with a syntax of their own, by key.

    Yields:
        Key and value of each term; the key of a bare word is empty.

    Raises:
        UsageError: A key has no value, a quote is not closed, or the text is not one printable line.
    """
    if not text.isprintable():
        raise UsageError("a filter must be one line of printable characters")
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        key = ""
        if (found := _KEY.match(text, at)) and found[1] in keys:
            key, at = found[1], found.end()
        value, at = readers[key](text, at) if key in readers else _value(text, at, key)
        yield key, value


def _value(text: str, at: int, key: str) -> tuple[str, int]:
    if found := _QUOTED.match(text, at):
        return re.sub(r"\\(.)", r"\1", found[1]), found.end()
    if at < len(text) and text[at] == '"':
        raise UsageError(f"unclosed quote: {text[at:]}")
    if found := _PLAIN.match(text, at):
        return found[0], found.end()
    raise UsageError(f"{key}: needs a value")


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


def complete_term(
    text: str, keys: Iterable[str], values: Mapping[str, Iterable[str]], words: Iterable[str] = ()
) -> str | None:
    """Complete the last term of a filter that is being typed.

    Args:
        text: What has been typed so far.
        keys: The keys of this filter.
        values: Known values by key.
        words: Known bare words.

    Returns:
        The text with its last term completed; None if there is no completion.
    """
    start = text.rfind(" ") + 1
    before, term = text[:start], text[start:]
    if not term or '"' in term or "{" in text:
        return None
    key, colon, value = term.partition(":")
    if not colon:
        offered = (*(f"{name}:" for name in keys), *words)
        return next((before + word for word in offered if _begins(word, term)), None)
    head, comma, value = value.rpartition(",")
    head = f"{before}{key}:{head}{comma}"
    return next((head + word for word in values.get(key, ()) if value and _begins(word, value)), None)


def _begins(word: str, start: str) -> bool:
    return word != start and word.startswith(start) and word.isprintable() and " " not in word
