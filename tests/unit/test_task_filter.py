"""A filter as one line of text: what is written is read again, and what cannot be read is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedq_tui.filters.task_filter import KEYS, complete, format_filter, parse_filter
from embedq_worker.errors import UsageError
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.schema.task_values import KINDS, PRIORITIES, STATUSES

TASK = "01a20e58-c777-73ab-9609-1ff580477dd1"

_printable = st.characters(exclude_categories=["C", "Zl", "Zp"]).filter(str.isprintable)
_text = st.text(_printable, min_size=1, max_size=30)
_json = st.dictionaries(
    _text, st.recursive(st.none() | st.booleans() | st.integers() | _text, st.lists, max_leaves=4)
)
_moment = st.none() | st.timedeltas(timedelta(0), timedelta(days=4000)).map(
    lambda span: timedelta(seconds=round(span.total_seconds()))
)
_time = _moment | st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


def _metadata(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


_filters = st.builds(
    TaskFilter,
    ids=st.none() | st.lists(st.uuids(), min_size=1, max_size=3, unique=True).map(tuple),
    statuses=st.sets(st.sampled_from(STATUSES)).map(
        lambda some: tuple(status for status in STATUSES if status in some)
    ),
    priority=st.none() | st.sampled_from(PRIORITIES),
    kind=st.none() | st.sampled_from(KINDS),
    slug=st.none() | _text,
    folder=st.none() | _text.filter(lambda text: bool(text.strip("/"))),
    error=st.none() | _text,
    group=st.none() | st.from_regex(r"[0-9a-f]{8}", fullmatch=True),
    article=st.none() | st.integers(0, 2**31 - 1),
    worker=st.none() | st.uuids(),
    operation=st.none() | st.uuids(),
    since=_time,
    until=_time,
    metadata=st.none() | _json.map(_metadata).filter(str.isprintable),
)


def _possible(wanted: TaskFilter) -> bool:
    try:
        wanted.require_possible()
    except UsageError:
        return False
    return True


@settings(max_examples=60)
@given(_filters.filter(_possible))
def test_what_is_written_is_read_again(wanted: TaskFilter) -> None:
    assert parse_filter(format_filter(wanted)) == wanted


@given(st.text(_printable, max_size=60))
def test_any_text_is_a_filter_or_is_told_to_be_none(text: str) -> None:
    try:
        wanted = parse_filter(text)
    except UsageError:
        return
    assert parse_filter(format_filter(wanted)) == wanted


def test_all_terms_together() -> None:
    text = (
        "status:failed priority:high handbook error:timeout since:2h article:12 "
        'group:ab12cd34 kind:update meta:{"k": 1, "a": {"b": [true, "x y"]}}'
    )
    assert parse_filter(text) == TaskFilter(
        statuses=("failed",),
        priority="high",
        slug="handbook",
        error="timeout",
        since=timedelta(hours=2),
        article=12,
        group="ab12cd34",
        kind="update",
        metadata='{"a":{"b":[true,"x y"]},"k":1}',
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", TaskFilter()),
        ('folder:"my guides/"', TaskFilter(folder="my guides/")),
        ("  two-words  ", TaskFilter(slug="two-words")),
        ('"two words"', TaskFilter(slug="two words")),
        (f"id:{TASK[:11].upper()}", TaskFilter(id_begins=TASK[:11].replace("-", ""))),
        (f"worker:{TASK}", TaskFilter(worker=UUID(TASK))),
        (f"worker:{TASK[:8].upper()}", TaskFilter(worker_begins=TASK[:8])),
        (TASK.upper(), TaskFilter(ids=(UUID(TASK),))),
        (f"{TASK} id:{TASK}", TaskFilter(ids=(UUID(TASK),))),
        ("status:fail status:pend", TaskFilter(statuses=("pending", "failed"))),
        ("status:failed,completed", TaskFilter(statuses=("completed", "failed"))),
        (r'error:"say \"no\" \\ never"', TaskFilter(error=r'say "no" \ never')),
        ("error:10.0.0.1:11434", TaskFilter(error="10.0.0.1:11434")),
        (
            "group:0badcafe status:failed,pending",
            TaskFilter(group="0badcafe", statuses=("pending", "failed")),
        ),
        ("since:2h until:1h", TaskFilter(since=timedelta(hours=2), until=timedelta(hours=1))),
    ],
)
def test_terms_of_many_kinds(text: str, wanted: TaskFilter) -> None:
    assert parse_filter(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "status:p",
        "status:",
        "status:gone",
        "priority:high priority:low",
        "two words",
        "colour:red",
        'error:"open',
        "article:many",
        "article:99999999999",
        "since:yesterday",
        "group:nothex",
        "id:1234",
        "id:12345678,abcdef12",
        "id:12345xyz",
        "meta:{",
        "meta:[1]",
        'meta:{"a": NaN}',
        'meta:{"a": "\\u0000"}',
        "meta:" + "[" * 100_000,
        "since:1h until:2h",
        "folder:",
        "folder:/",
        "since:2026-01-02 until:2026-01-01",
        "since:2999-01-01 status:failed",
        "group:0badcafe status:pending",
        "group:0badcafe worker:0badcafe",
        "worker:0badcafe status:completed",
        "slug:a\x1bb",
        "slug:\u202eb",
    ],
)
def test_what_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(UsageError):
        parse_filter(text)


@pytest.mark.parametrize(
    ("text", "completed"),
    [
        ("sta", "status:"),
        ("status:f", "status:failed"),
        ("error:x status:failed,pe", "error:x status:failed,pending"),
        ("hand", "handbook/one"),
        ("slug:hand", "slug:handbook/one"),
        ("01a2", TASK),
        ("slug:", None),
        ("slug:has", None),
        ("slug:bell", None),
        ("", None),
        ("nothing-such", None),
        ("status:failed", None),
        ('error:"sta', None),
    ],
)
def test_a_last_term_is_completed(text: str, completed: str | None) -> None:
    assert complete(text, ["has spaces", "bell\a", "handbook/one"], [TASK]) == completed


def test_every_key_can_be_completed() -> None:
    assert {complete(key[:-1]) for key in KEYS} <= {f"{key}:" for key in KEYS}
