"""Translate a filter of tasks to SQL, see `wanted`.

A filter becomes branches, each an ordered scan of one index whatever the size of the table: the tasks of one
status ordered by the timestamp that fits it, or the few rows of a narrow condition. SQL texts are constants
of this module; everything an operator enters is a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from uuid import UUID

from embedq_worker.database.blockers import OUT_OF_TIME
from embedq_worker.database.connections import FILTER_TIMEOUT_S, Connection
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.schema.task_values import PRIORITIES, STATUSES

Direction = Literal["newest", "oldest"]
Order = Literal["newest", "oldest", "next"]
"""Order of a list: by time; or, for pending tasks, as workers claim them: by priority, then longest due."""


def pattern_of(text: str) -> str:
    """A LIKE pattern that matches texts containing this one literally."""
    return "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"


def in_order_of_claims(wanted: TaskFilter) -> bool:
    """Whether these can be listed in the order of claims: pending tasks, and not by operation (no index)."""
    return wanted.statuses in ((), ("pending",)) and wanted.operation is None


FEW_ARTICLES = 300
FEW_TASKS = 10_000
"""Articles of a folder, and their tasks, up to which these are looked up by article, all of them for each
page. With more, a page is soon full anyway."""

LATELY = timedelta(days=1)
"""Tasks of so short a time are read faster than all articles."""

FEW_ARTICLES_S = 5.0
"""Seconds to look for these articles, which may all be at the end of a big table."""


class Parameters(list[object]):
    """The values of a statement's parameters, from $1 on."""

    def add(self, value: object) -> str:
        """Add one; return its placeholder."""
        self.append(value)
        return f"${len(self)}"


class Cursor(NamedTuple):
    """The position of a task in an order by time, then id.

    Attributes:
        time: None if unknown; such tasks come first if the oldest come first, otherwise last.
        rank: Rank of its priority, if the order begins with that.
    """

    time: datetime | None
    id: UUID
    rank: int | None = None

    def __str__(self) -> str:
        rank = "" if self.rank is None else f"{self.rank}:"
        return f"{rank}{self.time.isoformat() if self.time else ''}/{self.id}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Parse the result of `str`.

        Raises:
            ValueError: The text is something else.
        """
        rank = int(text[0]) if text[1:2] == ":" else None
        time, _, task = (text if rank is None else text[2:]).partition("/")
        when = datetime.fromisoformat(time) if time else None
        if when is not None and when.tzinfo is None:
            raise ValueError(f"{time!r} has no time zone")
        return cls(when, UUID(task), rank)


class Branch(NamedTuple):
    """An ordered scan of one index on ``embedding_tasks t``.

    Attributes:
        where: The complete condition.
        time: SQL for the time it is ordered by, before the id; None for rows without a time.
        order: ORDER BY that matches the index, with ``{0}`` for the direction.
        rank: Rank of the priority, if all its rows have the same.
    """

    where: str
    time: str | None
    order: str
    rank: int = 0

    def beyond(self, place: Cursor, order: Order, parameters: Parameters) -> str | None:
        """The condition for rows beyond a position.

        Args:
            place: The position.
            order: Order of the list.
            parameters: Those of the statement; the position is added if the condition needs it.

        Returns:
            SQL; None if no row of this branch can be beyond it.
        """
        if place.rank is not None and place.rank != self.rank:
            return "true" if self.rank > place.rank else None
        sign = "<" if order == "newest" else ">"
        # Rows without a time come first if the oldest come first, and last in other orders.
        if place.time is None:
            if self.time is None:
                return f"t.id {sign} {parameters.add(place.id)}::uuid"
            return "true" if order == "oldest" else None
        if self.time is None:
            return None if order == "oldest" else "true"
        time, task = parameters.add(place.time), parameters.add(place.id)
        return f"({self.time}, t.id) {sign} ({time}::timestamptz, {task}::uuid)"

    def ordered(self, order: Order) -> str:
        """ORDER BY of this branch."""
        return self.order.format("DESC" if order == "newest" else "ASC")


class Selection(NamedTuple):
    """A filter as SQL.

    Attributes:
        at: The database's time when it was built; durations count back from it.
        branches: Disjoint; together they match the filter.
        arguments: Values of their parameters, from $1 on.
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
TIME = (
    "CASE t.status WHEN 'pending' THEN t.scheduled_at WHEN 'processing' THEN t.processed_at "
    "ELSE t.completed_at END"
)
"""The time of a task, whatever its status; see `TaskFilter`."""

RETRIABLE = """(t.operation <> 'delete' OR NOT EXISTS (
            SELECT FROM embedding_tasks l WHERE l.article_id = t.article_id AND l.operation <> 'delete'
                                            AND l.created_at >= t.created_at))"""
"""A retry of any other failed task would remove what a later task of its article has stored, or one of the
same transaction, among which a removal counts as the first."""

_UNKNOWN = "coalesce(t.processed_at, t.created_at, '-infinity')"
_RANK = "embedq_rank(t.priority)"
_OPERATION = "t.metadata ? 'bulkOperationId' AND t.metadata ->> 'bulkOperationId' = "

STUCK = """(embedq_held_since(t.processed_at, t.created_at) < now() - make_interval(secs => {0}::float8)
    OR t.worker_id IS NOT NULL AND t.claimed_at = t.processed_at AND NOT EXISTS (
        SELECT FROM embedq_workers w
        WHERE w.id = t.worker_id
          AND embedq_alive(w.state, w.heartbeat_at, make_interval(secs => {1}::float8))))"""
"""Whether a claimed task is stuck, by the values of `Stuck`. A claim is ours while claimed_at equals
processed_at; otherwise only its age counts. embedq_rescue takes the same tasks back."""


async def select(connection: Connection, wanted: TaskFilter, *, ranked: bool = False) -> Selection:
    """Translate a filter to SQL, relative to the database's current time.

    Args:
        connection: To the migrated database.
        wanted: Which tasks.
        ranked: Only pending tasks, with one branch per priority.
    """
    at: datetime = await connection.fetchval("SELECT clock_timestamp()")
    parameters = Parameters()
    common = " AND ".join(_conditions(wanted, parameters))
    times = [at - time if isinstance(time, timedelta) else time for time in (wanted.since, wanted.until)]
    lately = times[0] is not None and at - times[0] < LATELY
    keyed, few = _by_key(wanted), None
    if wanted.folder is not None and not (keyed or lately or _narrow(wanted)):
        few = await _few_articles(connection, wanted)
    if few is not None:
        keyed, common = True, f"t.article_id = ANY ({parameters.add(few)}::int[]) AND {common}"
    since, until = (parameters.add(time) if time is not None else None for time in times)
    branches = tuple(
        branch._replace(where=" AND ".join(filter(None, (branch.where, common, within))))
        for branch in (_ranked(wanted, keyed) if ranked else _walks(wanted, keyed))
        for within in [_within(branch.time or _UNKNOWN, since, until)]
    )
    return Selection(at, branches, tuple(parameters))


async def _few_articles(connection: Connection, wanted: TaskFilter) -> list[int] | None:
    """The articles of a folder, if they are few, and reading the articles is less than reading the tasks."""
    try:
        found: list[int] | None = await connection.fetchval(
            _ARTICLES_WITHIN,
            str(wanted.folder).strip("/"),
            list(wanted.statuses or STATUSES),
            FEW_ARTICLES + 1,
            timeout=FEW_ARTICLES_S,
        )
    except OUT_OF_TIME:  # ours, or the statement_timeout of a role
        return None
    if found is None or len(found) > FEW_ARTICLES:
        return None
    async with connection.transaction(readonly=True):
        await connection.execute(BY_INDEX)
        tasks: int = await connection.fetchval(_TASKS_OF, found, FEW_TASKS + 1)
    return found if tasks <= FEW_TASKS else None


_ARTICLES_WITHIN = """
SELECT CASE WHEN (SELECT sum(n) FROM embedq_live_counts WHERE status = ANY ($2::text[]))
                 > (SELECT reltuples FROM pg_class WHERE oid = 'articles'::regclass)
            THEN ARRAY(SELECT a.id FROM articles a WHERE embedq_is_within(a.folder, $1) LIMIT $3) END
"""

_TASKS_OF = """
SELECT count(*) FROM (SELECT FROM embedding_tasks WHERE article_id = ANY ($1::int[]) LIMIT $2) AS t
"""

BY_INDEX = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"
"""Forces index scans, because the statistics of tables that change this fast are unreliable."""

PLAN = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off; "
    "SET LOCAL jit = off; SET LOCAL plan_cache_mode = force_generic_plan"
)
"""The same, and no sorts: rows are read in the order of an index.

The plan does not depend on the parameters, so a generic plan saves planning when a list is asked for again;
left to itself, PostgreSQL would keep planning as long as it believes a custom plan to be cheaper.
"""


async def count_tasks(
    connection: Connection, wanted: TaskFilter, selection: Selection, extra: str = "true"
) -> int:
    """Count the matching tasks exactly; costs next to nothing if the filter has only status and priority.

    Args:
        connection: To the migrated database.
        wanted: Which tasks.
        selection: The selection of this filter.
        extra: Another condition, constant SQL.
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
            f"SELECT {' + '.join(counts)}", *selection.arguments, timeout=FILTER_TIMEOUT_S
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
    (
        "worker_begins",
        """t.worker_id BETWEEN rpad({0}::text, 32, '0')::uuid AND rpad({0}::text, 32, 'f')::uuid
            AND t.claimed_at = t.processed_at""",
        str,
    ),
    ("kind", "t.operation = {0}::text", str),
    ("metadata", "t.metadata @> {0}::jsonb", str),
    ("priority", "t.priority = {0}::text", str),
    (
        "slug",
        """(t.slug ILIKE {0}::text OR t.slug IS NULL AND EXISTS
            (SELECT FROM articles a WHERE a.id = t.article_id AND a.slug ILIKE {0}::text))""",
        pattern_of,
    ),
    (  # as embedq_in_folders(), which would be called for each task: five times the time
        "folder",
        "EXISTS (SELECT FROM articles a WHERE a.id = t.article_id AND embedq_is_within(a.folder, {0}::text))",
        lambda folder: folder.strip("/"),
    ),
    ("error", "t.error_message ILIKE {0}::text", pattern_of),
)
"""For each field of a filter: its condition, and the function that turns its value into a parameter."""


def _conditions(wanted: TaskFilter, parameters: Parameters) -> Iterator[str]:
    """The conditions that do not depend on the branch."""
    for name, condition, form in _CONDITIONS:
        value = getattr(wanted, name)
        if value is not None:
            yield condition.format(parameters.add(form(value)))
    if wanted.stuck is not None:
        yield STUCK.format(parameters.add(wanted.stuck.older_s), parameters.add(wanted.stuck.silent_s))


def _walks(wanted: TaskFilter, keyed: bool) -> Iterator[Branch]:
    """The indexes to scan; for each, the rows with a time and those without."""
    statuses = [status for status in STATUSES if not wanted.statuses or status in wanted.statuses]
    if wanted.group is not None:
        statuses = [status for status in statuses if status == "failed"]
    if _claimed(wanted):
        statuses = [status for status in statuses if status == "processing"]
    if keyed:
        # The status is written so that no partial index of a status matches: with the statistics of a nearly
        # empty table, each of those would look as good as the key.
        words = ", ".join(f"'{status}'" for status in statuses)
        if words:
            yield from _halves(f"(t.status || '') IN ({words})", TIME)
    elif wanted.operation is not None:
        for status in statuses:
            yield Branch(f"t.status = '{status}'", None, "t.id {0}")
    else:
        for status in statuses:
            if status == "pending":
                yield from _by_rank("t.status = 'pending'", wanted)
            else:
                yield from _halves(f"t.status = '{status}'", _TIME_BY_STATUS[status])


def _by_key(wanted: TaskFilter) -> bool:
    """Whether few rows can match, which are found by key."""
    return wanted.ids is not None or wanted.article is not None or wanted.id_begins is not None


def _claimed(wanted: TaskFilter) -> bool:
    """Whether only tasks in progress can match."""
    return wanted.worker is not None or wanted.worker_begins is not None or wanted.stuck is not None


def _narrow(wanted: TaskFilter) -> bool:
    """Whether the tasks to read are few in relation to all, whatever their folder."""
    return wanted.operation is not None or wanted.group is not None or _claimed(wanted)


def _ranked(wanted: TaskFilter, keyed: bool) -> Iterator[Branch]:
    """The same for pending tasks by priority, whatever the other conditions."""
    if keyed:
        yield from _by_rank("(t.status || '') = 'pending'", wanted)
    elif wanted.group is None and not _claimed(wanted):
        yield from _by_rank("t.status = 'pending'", wanted)


def _by_rank(pending: str, wanted: TaskFilter) -> Iterator[Branch]:
    for rank, priority in enumerate(PRIORITIES):  # as in the index for claims
        if wanted.priority in (None, priority):
            yield from _halves(f"{pending} AND {_RANK} = {rank}", _TIME_BY_STATUS["pending"], rank)


def _halves(scope: str, time: str, rank: int = 0) -> Iterator[Branch]:
    order = f"{time} {{0}}, t.id {{0}}"
    yield Branch(f"{scope} AND {time} IS NULL", None, order, rank)
    yield Branch(f"{scope} AND {time} IS NOT NULL", time, order, rank)
