"""Filters of articles as one line of text: ``state:stale,missing folder:guides part of a slug or title``.

Bare words are searched for in slug and title, as one phrase.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from embedq_tui.filters.syntax import complete_term, quoted, refuse_key, terms, word_of
from embedq_worker.insights.articles import ArticleFilter, State
from embedq_worker.text import printable_line

KEYS = ("state", "folder", "text")
EXAMPLE = "part of a slug or title, folder:guides, state:stale,missing"


def parse_filter(text: str) -> ArticleFilter:
    """Parse a filter.

    Args:
        text: As typed by the operator.

    Raises:
        UsageError: It is invalid; says where.
    """
    states: list[State] = []
    folder, words = "", []
    for key, value in terms(text, KEYS):
        match key:
            case "state":
                states += [State(word_of("state", word, State)) for word in value.split(",")]
            case "folder":
                folder = value.strip("/")
            case "text":
                words.append(value)
            case _:
                refuse_key(value, KEYS)
                words.append(value)
    return ArticleFilter(tuple(dict.fromkeys(states)), folder, " ".join(words))


def format_filter(wanted: ArticleFilter) -> str:
    """Format a filter so that `parse_filter` can read it."""
    return " ".join(_terms_of(wanted))


def matching(wanted: Mapping[str, object]) -> str:
    """Format which articles a backfill was limited to, as a filter of the list of articles; empty for all.

    Args:
        wanted: `BackfillOptions.filter`, perhaps as stored with the operation.
    """
    folder, text = (str(wanted.get(name) or "") for name in ("folder", "text"))
    return printable_line(format_filter(ArticleFilter(folder=folder, text=text)))


def complete(text: str) -> str | None:
    """Complete the last term of a filter being typed; None if there is no completion."""
    return complete_term(text, KEYS, {"state": tuple(State)})


def _terms_of(wanted: ArticleFilter) -> Iterator[str]:
    if wanted.states:
        yield f"state:{','.join(wanted.states)}"
    if wanted.folder:
        yield f"folder:{quoted(wanted.folder)}"
    if wanted.text:
        plain = re.fullmatch(r"[^\s\\\":]+( [^\s\\\":]+)*", wanted.text)
        yield wanted.text if plain else f"text:{quoted(wanted.text)}"
