"""Filters of tasks as one line of text: ``status:failed error:"timed out" since:2h``.

Terms are separated by spaces, and all of them must match. A term is ``key:value``, or a bare word: a task id,
or else part of a slug. Values with spaces need double quotes; ``meta:`` takes a JSON object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

from embedq_tui.filters.syntax import complete_term, quoted, terms, word_of
from embedq_tui.filters.values import LEAST_DIGITS, parse_beginning, parse_moment
from embedq_worker.errors import UsageError
from embedq_worker.queue.wanted import TaskFilter, parse_article_id
from embedq_worker.schema.task_values import KINDS, PRIORITIES, STATUSES

KEYS = (
    "status",
    "priority",
    "slug",
    "folder",
    "error",
    "group",
    "since",
    "until",
    "article",
    "kind",
    "id",
    "worker",
    "operation",
    "meta",
)
EXAMPLE = 'status:failed priority:high error:"timed out" since:2h article:12 meta:{"k":1} or part of a slug'

_WORDS = {"status": STATUSES, "priority": PRIORITIES, "kind": KINDS}
_MANY = ("id", "status")
_META = 'meta: needs a JSON object such as {"k":1}'


def parse_filter(text: str) -> TaskFilter:
    """Parse a filter.

    Args:
        text: As typed by the operator.

    Raises:
        UsageError: It is invalid; says where.
    """
    given: dict[str, list[str]] = {}
    for key, value in _terms(text):
        given.setdefault(key, []).append(value)
    values: dict[str, Any] = {}
    for key, texts in given.items():
        if len(texts) > 1 and key not in _MANY:
            values_given = ", ".join(map(quoted, texts))
            raise UsageError(
                f"{key}: is given more than once: {values_given}; put values with spaces in quotes"
            )
        values |= _READERS[key](texts)
    wanted = TaskFilter(**values)
    wanted.require_possible()
    return wanted


def format_filter(wanted: TaskFilter) -> str:
    """Format a filter so that `parse_filter` can read it; `stuck` has no text form.

    Args:
        wanted: Its durations must be whole seconds.
    """
    return " ".join(_terms_of(wanted))


def complete(text: str, slugs: Iterable[str] = (), ids: Iterable[str] = ()) -> str | None:
    """Complete a filter that is being typed.

    Args:
        text: What has been typed so far.
        slugs: Known slugs.
        ids: Known task ids.

    Returns:
        The text with its last term completed; None if there is no completion.
    """
    slugs, ids = tuple(slugs), tuple(ids)
    return complete_term(text, KEYS, {**_WORDS, "slug": slugs, "id": ids}, (*slugs, *ids))


# -- reading


def _terms(text: str) -> Iterator[tuple[str, str]]:
    for key, value in terms(text, KEYS, {"meta": _json}):
        if not key:
            _refuse_key(value)
        yield key or ("id" if is_id(value) else "slug"), value


def _json(text: str, at: int) -> tuple[str, int]:
    try:
        value, end = json.JSONDecoder(parse_constant=_no_constant).raw_decode(text, at)
    except (ValueError, RecursionError):
        raise UsageError(f"{_META}, not {text[at:] or 'nothing'}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{_META}, not {text[at:end]}")
    written = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if "\\u0000" in written or not written.isprintable():
        raise UsageError("meta: contains a character that PostgreSQL cannot store in JSON")
    return written, end


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _refuse_key(word: str) -> None:
    """Report an unknown key: with its colon it cannot be meant as part of a slug."""
    key, colon, _ = word.partition(":")
    if colon and key.isalpha():
        raise UsageError(f"unknown key {key!r}: use one of {', '.join(KEYS)}")


def is_id(text: str) -> bool:
    """Whether a text has the form of a task id."""
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text, re.IGNORECASE) is not None


def _id(text: str) -> UUID:
    if not is_id(text):
        raise UsageError(f"{text} is not an id such as 01a20e58-c777-73ab-9609-1ff580477dd1")
    return UUID(text)


def _word(key: str, text: str) -> str:
    return word_of(key, text, _WORDS[key])


def _ids(texts: list[str]) -> dict[str, object]:
    words = [word for text in texts for word in text.split(",")]
    if len(words) == 1 and not is_id(words[0]):
        return {"id_begins": _beginning("id", "a task", words[0])}
    return {"ids": tuple(dict.fromkeys(map(_id, words)))}


def _worker(text: str) -> dict[str, object]:
    if is_id(text):
        return {"worker": UUID(text)}
    return {"worker_begins": _beginning("worker", "a worker", text)}


def _beginning(key: str, whose: str, text: str) -> str:
    digits = parse_beginning(text)
    if digits is None:
        raise UsageError(f"{key}: needs {whose}'s id or at least its first {LEAST_DIGITS} digits, not {text}")
    return digits


def _statuses(texts: list[str]) -> dict[str, object]:
    found = {_word("status", word) for text in texts for word in text.split(",")}
    return {"statuses": tuple(status for status in STATUSES if status in found)}


def _article(texts: list[str]) -> dict[str, object]:
    article = parse_article_id(texts[0])
    if article is None:
        raise UsageError(f"article: needs an article id, not {texts[0]}")
    return {"article": article}


def _moment(name: str) -> Callable[[list[str]], dict[str, object]]:
    def read(texts: list[str]) -> dict[str, object]:
        try:
            return {name: parse_moment(texts[0])}
        except ValueError:
            raise UsageError(
                f"{name}: needs 30m, 2h, 3d (ago) or a time such as 2026-11-24T15:00, not {texts[0]}"
            ) from None

    return read


def _text(name: str) -> Callable[[list[str]], dict[str, object]]:
    return lambda texts: {name: texts[0]}


_READERS: Mapping[str, Callable[[list[str]], dict[str, object]]] = {
    "status": _statuses,
    "priority": lambda texts: {"priority": _word("priority", texts[0])},
    "slug": _text("slug"),
    "folder": _text("folder"),
    "error": _text("error"),
    "group": lambda texts: {"group": texts[0].lower()},
    "since": _moment("since"),
    "until": _moment("until"),
    "article": _article,
    "kind": lambda texts: {"kind": _word("kind", texts[0])},
    "id": _ids,
    "worker": lambda texts: _worker(texts[0]),
    "operation": lambda texts: {"operation": _id(texts[0])},
    "meta": _text("metadata"),
}


# -- writing


def _terms_of(wanted: TaskFilter) -> Iterator[str]:
    if wanted.ids is not None:
        yield f"id:{','.join(map(str, wanted.ids))}"
    elif wanted.id_begins is not None:
        yield f"id:{wanted.id_begins}"
    if wanted.statuses:
        yield f"status:{','.join(wanted.statuses)}"
    for key, value in (
        ("priority", wanted.priority),
        ("kind", wanted.kind),
        ("slug", wanted.slug),
        ("folder", wanted.folder),
        ("error", wanted.error),
        ("group", wanted.group),
        ("article", wanted.article),
        ("worker", wanted.worker or wanted.worker_begins),
        ("operation", wanted.operation),
        ("since", _time(wanted.since)),
        ("until", _time(wanted.until)),
    ):
        if value is not None:
            yield f"{key}:{quoted(str(value))}"
    if wanted.metadata is not None:
        yield f"meta:{wanted.metadata}"


def _time(when: datetime | timedelta | None) -> str | None:
    if not isinstance(when, timedelta):
        return None if when is None else when.isoformat()
    seconds = round(when.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
