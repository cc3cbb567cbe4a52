"""A filter of tasks as SQL, see `wanted`.

A filter becomes branches, each an ordered walk along one index, whatever the size of the table: tasks of one
status in the order of the time that is natural for it, or what a narrow condition leaves. Texts of SQL are
constants of this module; all that an operator gives is a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from uuid import UUID

from embedq_worker.database.connections import Connection
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.queue.words import PRIORITIES, STATUSES

Direction = Literal["newest", "oldest"]
Order = Literal["newest", "oldest", "next"]
"""Of a list: by time; or pending tasks as workers claim them, by priority and then the longest due."""


def pattern_of(text: str) -> str:
    """A LIKE pattern for texts that contain this one, taken literally."""
    return "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"


def in_order_of_claims(wanted: TaskFilter) -> bool:
    """Whether these can be listed as they are claimed: pending ones; those of an operation lack an index."""
    return wanted.statuses in ((), ("pending",)) and wanted.operation is None


class Cursor(NamedTuple):
    """The place of a task in an order by time, then id.

    Attributes:
        time: None where it is unknown; these come first where the oldest come first, else last.
        rank: Of its priority, where that comes before the time.
    """

    time: datetime | None
    id: UUID
    rank: int | None = None

    def __str__(self) -> str:
        rank = "" if self.rank is None else f"{self.rank}:"
        return f"{rank}{self.time.isoformat() if self.time else ''}/{self.id}"

    @property
    def arguments(self) -> list[object]:
        """As parameters, see `Branch.beyond`."""
        return [self.id] if self.time is None else [self.time, self.id]

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read what `str` wrote.

        Raises:
            ValueError: It is something else.
        """
        rank = int(text[0]) if text[1:2] == ":" else None
        time, _, task = (text if rank is None else text[2:]).partition("/")
        when = datetime.fromisoformat(time) if time else None
        if when is not None and when.tzinfo is None:
            raise ValueError(f"{time!r} names no zone")
        return cls(when, UUID(task), rank)


class Branch(NamedTuple):
    """A walk along one index, over ``embedding_tasks t``.

    Attributes:
        where: Conditions, all of them.
        time: What it is ordered by, before the id; nothing where the time is unknown.
        order: Of the index, with ``{0}`` for the direction.
        rank: Of the priority of all of them, where it is one.
    """

    where: str
    time: str | None
    order: str
    rank: int = 0

    def beyond(self, place: Cursor, order: Order, number: int) -> str | None:
        """The condition for what lies beyond a place.

        Args:
            place: Its arguments are the parameters.
            order: Of the list.
            number: Of the first of these parameters.

        Returns:
            SQL; None where nothing of this branch does.
        """
        if place.rank is not None and place.rank != self.rank:
            return "true" if self.rank > place.rank else None
        sign = "<" if order == "newest" else ">"
        # Those without a time are the first of the oldest, and the last of other orders.
        if place.time is None:
            if self.time is None:
                return f"t.id {sign} ${number}::uuid"
            return "true" if order == "oldest" else None
        if self.time is None:
            return None if order == "oldest" else "true"
        return f"({self.time}, t.id) {sign} (${number}::timestamptz, ${number + 1}::uuid)"

    def ordered(self, order: Order) -> str:
        """ORDER BY of this branch."""
        return self.order.format("DESC" if order == "newest" else "ASC")


class Selection(NamedTuple):
    """A filter as SQL.

    Attributes:
        at: The database's time when it was made; durations count back from here.
        branches: Disjoint; together they are the filter.
        arguments: Of the parameters in them, from $1 on.
    """

    at: datetime
    branches: tuple[Branch, ...]
    arguments: tuple[object, ...]


_TIME_BY_STATUS = {
    "pending": "t.scheduled_at",
    "processing": "t.processed_at",
    "completed": "t.completed_at",
    "failed": "t.completed_at",
}
_TIME = (
    "CASE t.status WHEN 'pending' THEN t.scheduled_at WHEN 'processing' THEN t.processed_at "
    "ELSE t.completed_at END"
)
_UNKNOWN = "coalesce(t.processed_at, t.created_at, '-infinity')"
_RANK = "embedq_rank(t.priority)"
_OPERATION = "t.metadata ? 'bulkOperationId' AND t.metadata ->> 'bulkOperationId' = "


# As `insights.stuck` judges: a claim is ours while claimed_at equals processed_at, else only its age speaks.
_STUCK = """(embedq_held_since(t.processed_at, t.created_at) < now() - make_interval(secs => {0}::float8)
    OR t.worker_id IS NOT NULL AND t.claimed_at = t.processed_at AND NOT EXISTS (
        SELECT FROM embedq_workers w WHERE w.id = t.worker_id AND w.state IN ('running', 'stopping')
                                       AND w.heartbeat_at >= now() - make_interval(secs => {1}::float8)))"""


async def select(connection: Connection, wanted: TaskFilter, *, ranked: bool = False) -> Selection:
    """Turn a filter into SQL, as of now by the database's clock.

    Args:
        connection: To the migrated database.
        wanted: Which tasks.
        ranked: Of pending tasks alone: each branch is to hold one priority.
    """
    at: datetime = await connection.fetchval("SELECT clock_timestamp()")
    arguments: list[object] = []

    def parameter(value: object) -> str:
        arguments.append(value)
        return f"${len(arguments)}"

    common = " AND ".join(_conditions(wanted, parameter))
    since, until = (
        parameter(at - given if isinstance(given, timedelta) else given) if given is not None else None
        for given in (wanted.since, wanted.until)
    )
    branches = tuple(
        branch._replace(where=" AND ".join(filter(None, (branch.where, common, within))))
        for branch in (_ranked(wanted) if ranked else _walks(wanted))
        for within in [_within(branch.time or _UNKNOWN, since, until)]
    )
    return Selection(at, branches, tuple(arguments))


PLAN = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off; "
    "SET LOCAL jit = off; SET LOCAL plan_cache_mode = force_generic_plan"
)
"""Holds the walks to their indexes, whatever the statistics say of a table that changes this fast.

There is one way to walk whatever the parameters are, so a list that is asked for again is not planned
again: left to itself, PostgreSQL does so for ever where it takes the plan for these parameters to be cheaper.
"""

COUNTING_S = 600.0


async def count(connection: Connection, wanted: TaskFilter, selection: Selection, extra: str = "true") -> int:
    """Count the tasks that are meant, exactly; at no cost where only status and priority are asked.

    Args:
        connection: To the migrated database.
        wanted: Which tasks.
        selection: Of this filter.
        extra: A further condition, constant SQL.
    """
    if extra == "true" and wanted == TaskFilter(statuses=wanted.statuses, priority=wanted.priority):
        kept: int = await connection.fetchval(
            """SELECT coalesce(sum(n), 0)::bigint FROM embedq_live_counts
               WHERE (status = ANY ($1::text[]) OR $1 = '{}') AND (priority = $2::text OR $2 IS NULL)""",
            list(wanted.statuses),
            wanted.priority,
        )
        return kept
    if not selection.branches:
        return 0
    counts = (
        f"(SELECT count(*) FROM embedding_tasks t WHERE {branch.where} AND {extra})"
        for branch in selection.branches
    )
    async with connection.transaction():
        await connection.execute(PLAN)
        found: int = await connection.fetchval(
            f"SELECT {' + '.join(counts)}", *selection.arguments, timeout=COUNTING_S
        )
    return found


def _within(time: str, since: str | None, until: str | None) -> str:
    conditions = []
    if since:
        conditions.append(f"{time} >= {since}::timestamptz")
    if until:
        conditions.append(f"{time} <= {until}::timestamptz")
    return " AND ".join(conditions)


_CONDITIONS = (
    ("ids", "t.id = ANY ({0}::uuid[])", list),
    ("id_begins", "t.id BETWEEN rpad({0}::text, 32, '0')::uuid AND rpad({0}::text, 32, 'f')::uuid", str),
    ("article", "t.article_id = {0}::int", int),
    ("operation", f"{_OPERATION}{{0}}::text", str),
    ("group", "embedq_fingerprint(t.error_message) = {0}::text", str),
    ("worker", "t.worker_id = {0}::text::uuid AND t.claimed_at = t.processed_at", str),
    ("kind", "t.operation = {0}::text", str),
    ("metadata", "t.metadata @> {0}::jsonb", str),
    ("priority", "t.priority = {0}::text", str),
    (
        "slug",
        """(t.slug ILIKE {0}::text OR t.slug IS NULL AND EXISTS
            (SELECT FROM articles a WHERE a.id = t.article_id AND a.slug ILIKE {0}::text))""",
        pattern_of,
    ),
    ("error", "t.error_message ILIKE {0}::text", pattern_of),
)
"""By field of a filter: its condition, and what makes a parameter of the value."""


def _conditions(wanted: TaskFilter, parameter: Callable[[object], str]) -> Iterator[str]:
    """All that does not depend on the branch."""
    for name, condition, form in _CONDITIONS:
        value = getattr(wanted, name)
        if value is not None:
            yield condition.format(parameter(form(value)))
    if wanted.stuck is not None:
        yield _STUCK.format(parameter(wanted.stuck.older_s), parameter(wanted.stuck.silent_s))


def _walks(wanted: TaskFilter) -> Iterator[Branch]:
    """The indexes to walk along; of each the rows with a time and those without."""
    statuses = [status for status in STATUSES if not wanted.statuses or status in wanted.statuses]
    if wanted.group is not None:
        statuses = [status for status in statuses if status == "failed"]
    if wanted.worker is not None or wanted.stuck is not None:
        statuses = [status for status in statuses if status == "processing"]
    if wanted.ids is not None or wanted.article is not None or wanted.id_begins is not None:
        # Few, found by key. The status is put so that no index of a status offers itself: with statistics of
        # an emptier table each of them looks as good as the key.
        words = ", ".join(f"'{status}'" for status in statuses)
        if words:
            yield from _halves(f"(t.status || '') IN ({words})", _TIME)
    elif wanted.operation is not None:
        for status in statuses:
            yield Branch(f"t.status = '{status}'", None, "t.id {0}")
    else:
        for status in statuses:
            if status == "pending":
                yield from _by_rank("t.status = 'pending'", wanted)
            else:
                yield from _halves(f"t.status = '{status}'", _TIME_BY_STATUS[status])


def _ranked(wanted: TaskFilter) -> Iterator[Branch]:
    """The same for pending tasks by priority, whatever else is asked of them."""
    if wanted.ids is not None or wanted.article is not None or wanted.id_begins is not None:
        yield from _by_rank("(t.status || '') = 'pending'", wanted)
    elif wanted.group is None and wanted.worker is None and wanted.stuck is None:
        yield from _by_rank("t.status = 'pending'", wanted)


def _by_rank(pending: str, wanted: TaskFilter) -> Iterator[Branch]:
    for rank, priority in enumerate(PRIORITIES):  # as the index of the claim has them
        if wanted.priority in (None, priority):
            yield from _halves(f"{pending} AND {_RANK} = {rank}", _TIME_BY_STATUS["pending"], rank)


def _halves(scope: str, time: str, rank: int = 0) -> Iterator[Branch]:
    order = f"{time} {{0}}, t.id {{0}}"
    yield Branch(f"{scope} AND {time} IS NULL", None, order, rank)
    yield Branch(f"{scope} AND {time} IS NOT NULL", time, order, rank)
