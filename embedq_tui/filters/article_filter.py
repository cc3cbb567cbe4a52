"""Filters of articles as one line of text: ``state:stale,missing folder:guides part of a slug or title``.

Terms are separated by spaces. A term is ``key:value`` or a word of the slug or title; several words are
searched for as one phrase. Values with spaces need double quotes.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from embedq_tui.filters.quoting import quoted, refuse_key, refuse_unprintable, word_of
from embedq_worker.errors import UsageError
from embedq_worker.insights.articles import ArticleFilter, State

KEYS = ("state", "folder", "text")
EXAMPLE = "part of a slug or title, folder:guides, state:stale,missing"


def parse_article_filter(text: str) -> ArticleFilter:
    """Parse a filter.

    Args:
        text: As typed by the operator.

    Raises:
        UsageError: It is invalid; says where.
    """
    refuse_unprintable(text)
    states: list[State] = []
    folder, words = "", []
    for term in _terms(text):
        key, colon, value = term.partition(":")
        match key if colon else "":
            case "state":
                states += [State(word_of("state", word, State)) for word in value.split(",")]
            case "folder":
                folder = value.strip("/")
            case "text":
                words.append(value)
            case _:
                refuse_key(term, KEYS)
                words.append(term)
    return ArticleFilter(tuple(dict.fromkeys(states)), folder, " ".join(words))


def format_article_filter(wanted: ArticleFilter) -> str:
    """Format a filter so that `parse_article_filter` can read it."""
    return " ".join(_terms_of(wanted))


def complete_article_filter(text: str) -> str | None:
    """Complete the last term of a filter being typed; None if there is no completion."""
    key, colon, value = text.rpartition(" ")[2].rpartition(":")
    if colon and key != "state":
        return None
    word = value.rpartition(",")[2]
    known = State if colon else [f"{name}:" for name in KEYS]
    found = [name for name in known if name.startswith(word)]
    return text + found[0][len(word) :] if word and len(found) == 1 else None


def _terms(text: str) -> list[str]:
    reader = shlex.shlex(text, posix=True, punctuation_chars=False)
    reader.quotes, reader.commenters, reader.whitespace_split = '"', "", True
    try:
        return list(reader)
    except ValueError:
        raise UsageError("unclosed quote, or nothing after a backslash") from None


def _terms_of(wanted: ArticleFilter) -> Iterator[str]:
    if wanted.states:
        yield f"state:{','.join(wanted.states)}"
    if wanted.folder:
        yield f"folder:{quoted(wanted.folder)}"
    if wanted.text:
        plain = re.fullmatch(r"[^\s\\\":]+( [^\s\\\":]+)*", wanted.text)
        yield wanted.text if plain else f"text:{quoted(wanted.text)}"
