"""Which tasks are meant: one filter for lists, for an operator's actions and for the console.

A filter becomes branches, each an ordered walk along one index, whatever the size of the table: tasks of one
status in the order of the time that is natural for it, or what a narrow condition leaves. Texts of SQL are
constants of this module; all that an operator gives is a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from embedq_worker.database import Connection
from embedq_worker.errors import UsageError
from embedq_worker.text import age

STATUSES = ("pending", "processing", "completed", "failed")
PRIORITIES = ("high", "normal", "low")
KINDS = ("create", "update", "delete")
Direction = Literal["newest", "oldest"]

_DURATION = re.compile(r"(\d+)\s*(s|m|min|h|d|w)", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_FINGERPRINT = re.compile(r"[0-9a-f]{8}")


def parse_moment(text: str) -> datetime | timedelta:
    """Read ``2h``, ``3d``, ``90 min`` (ago), or an ISO 8601 time; without a zone it is local.

    Raises:
        ValueError: It is neither.
    """
    if found := _DURATION.fullmatch(text.strip()):
        try:
            return timedelta(seconds=int(found[1]) * _SECONDS[found[2].lower()])
        except OverflowError as error:
            raise ValueError(f"{text!r} is too long ago") from error
    return datetime.fromisoformat(text.strip()).astimezone()


def pattern_of(text: str) -> str:
    """A LIKE pattern for texts that contain this one, taken literally."""
    return "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"


@dataclass(frozen=True, slots=True)
class Stuck:
    """When a task in hand counts as stuck, see `insights.stuck`.

    Attributes:
        older_s: Its claim is older than this, whoever holds it.
        silent_s: Or its worker, one of ours, is gone or without heartbeat for longer than this.
    """

    older_s: float
    silent_s: float

    def __str__(self) -> str:
        return f"claims older than {age(self.older_s)}, workers silent for {age(self.silent_s)} or gone"


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Tasks that fulfil all of these; what is not given is not asked.

    The time of a task is when it is due (pending), was claimed (processing) or ended (completed, failed).

    Attributes:
        ids: Only these; None for any.
        statuses: Only these; empty for any.
        slug: Contained in the slug, in any case.
        error: Contained in the error, in any case.
        group: Fingerprint of a group of failures.
        worker: In the hands of this worker.
        since: Time at or after this; a duration counts back from now, by the database's clock.
        until: Time at or before this.
        operation: Queued by this bulk operation.
        kind: What is to be done to the article: ``create``, ``update``, ``delete``.
        metadata: A JSON object that is contained in the task's.
        stuck: In hand, and stuck when it is looked at.
    """

    ids: tuple[UUID, ...] | None = None
    statuses: tuple[str, ...] = ()
    priority: str | None = None
    slug: str | None = None
    error: str | None = None
    group: str | None = None
    article: int | None = None
    worker: UUID | None = None
    since: datetime | timedelta | None = None
    until: datetime | timedelta | None = None
    operation: UUID | None = None
    kind: str | None = None
    metadata: str | None = None
    stuck: Stuck | None = None

    def __post_init__(self) -> None:
        if self.priority not in (None, *PRIORITIES) or not set(self.statuses) <= set(STATUSES):
            raise UsageError(f"no such status or priority: {self.describe()}")
        if self.group is not None and not _FINGERPRINT.fullmatch(self.group):
            raise UsageError(
                f"{self.group!r} is not the fingerprint of a group", "`embedq-tui failed` lists them"
            )

    def only(self, *statuses: str) -> TaskFilter:
        """The same, of these statuses only; a status that was not wanted stays unwanted."""
        wanted = tuple(status for status in statuses if not self.statuses or status in self.statuses)
        # No status at all is no tasks, which a filter without statuses would not say.
        return replace(self, statuses=wanted) if wanted else replace(self, ids=())

    def describe(self) -> str:
        """In words, for questions and for the audit log: ``failed tasks of priority high since 2 h ago``."""
        words = [" or ".join(self.statuses), "tasks"]
        if self.ids is not None:
            words.append(str(self.ids[0]) if len(self.ids) == 1 else f"out of {len(self.ids):,} given ids")
        for given, text in (
            (self.priority, "of priority {}"),
            (self.article, "of article {}"),
            (self.slug, "with {!r} in the slug"),
            (self.error, "with {!r} in the error"),
            (self.group, "of group {}"),
            (self.worker, "held by worker {}"),
            (self.operation, "of bulk operation {}"),
            (self.kind, "of kind {}"),
            (self.metadata, "with {} in their metadata"),
            (self.since, "since {}"),
            (self.until, "until {}"),
            (self.stuck, "that are stuck ({})"),
        ):
            if given is not None:
                words.append(text.format(_told(given)))
        return " ".join(filter(None, words))

    def document(self) -> dict[str, object]:
        """What was given, for the audit log; of many ids their number."""
        found: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "ids" and value is not None:
                found["ids"] = [str(task) for task in value] if len(value) <= 10 else len(value)
            elif value is not None and value != ():
                found[field.name] = list(value) if isinstance(value, tuple) else _told(value)
        return found


def _told(value: object) -> str | int:
    match value:
        case timedelta():
            return f"{age(value.total_seconds())} ago"
        case datetime():
            return value.isoformat(timespec="seconds")
        case int():
            return value
    return str(value)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place of a task in an order by time, then id.

    Attributes:
        time: None where it is unknown; these come last where the newest come first.
    """

    time: datetime | None
    id: UUID

    def __str__(self) -> str:
        return f"{self.time.isoformat() if self.time else ''}/{self.id}"

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
        time, _, task = text.partition("/")
        when = datetime.fromisoformat(time) if time else None
        if when is not None and when.tzinfo is None:
            raise ValueError(f"{time!r} names no zone")
        return cls(when, UUID(task))


@dataclass(frozen=True, slots=True)
class Branch:
    """A walk along one index, over ``embedding_tasks t``.

    Attributes:
        where: Conditions, all of them.
        time: What it is ordered by, before the id; nothing where the time is unknown.
        order: Of the index, with ``{0}`` for the direction.
    """

    where: str
    time: str | None
    order: str

    def beyond(self, place: Cursor, direction: Direction, number: int) -> str | None:
        """The condition for what lies beyond a place.

        Args:
            place: Its arguments are the parameters.
            direction: Of the walk.
            number: Of the first of these parameters.

        Returns:
            SQL; None where nothing of this branch does.
        """
        sign = "<" if direction == "newest" else ">"
        # Those without a time are the last of the newest and the first of the oldest.
        if place.time is None:
            if self.time is None:
                return f"t.id {sign} ${number}::uuid"
            return "true" if direction == "oldest" else None
        if self.time is None:
            return "true" if direction == "newest" else None
        return f"({self.time}, t.id) {sign} (${number}::timestamptz, ${number + 1}::uuid)"

    def ordered(self, direction: Direction) -> str:
        """ORDER BY of this branch."""
        return self.order.format("DESC" if direction == "newest" else "ASC")


@dataclass(frozen=True, slots=True)
class Selection:
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
_STUCK = """(coalesce(t.processed_at, t.created_at) < now() - make_interval(secs => {0}::float8)
    OR t.worker_id IS NOT NULL AND t.claimed_at = t.processed_at AND NOT EXISTS (
        SELECT FROM embedq_workers w WHERE w.id = t.worker_id AND w.state IN ('running', 'stopping')
                                       AND w.heartbeat_at >= now() - make_interval(secs => {1}::float8)))"""


async def select(connection: Connection, wanted: TaskFilter) -> Selection:
    """Turn a filter into SQL, as of now by the database's clock.

    Args:
        connection: To the migrated database.
        wanted: Which tasks.
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
        replace(branch, where=" AND ".join(filter(None, (branch.where, common, within))))
        for branch in _walks(wanted)
        for within in [_within(branch.time or _UNKNOWN, since, until)]
    )
    return Selection(at, branches, tuple(arguments))


PLAN = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off; "
    "SET LOCAL jit = off"
)
"""Holds the walks to their indexes, whatever the statistics say of a table that changes this fast."""

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


def _conditions(wanted: TaskFilter, parameter: Callable[[object], str]) -> Iterator[str]:
    """All that does not depend on the branch."""
    if wanted.ids is not None:
        yield f"t.id = ANY ({parameter(list(wanted.ids))}::uuid[])"
    if wanted.article is not None:
        yield f"t.article_id = {parameter(wanted.article)}::int"
    if wanted.operation is not None:
        yield f"{_OPERATION}{parameter(str(wanted.operation))}::text"
    if wanted.group is not None:
        yield f"embedq_fingerprint(t.error_message) = {parameter(wanted.group)}::text"
    if wanted.worker is not None:
        yield f"t.worker_id = {parameter(wanted.worker)}::uuid AND t.claimed_at = t.processed_at"
    if wanted.kind is not None:
        yield f"t.operation = {parameter(wanted.kind)}::text"
    if wanted.metadata is not None:
        yield f"t.metadata @> {parameter(wanted.metadata)}::jsonb"
    if wanted.stuck is not None:
        yield _STUCK.format(parameter(wanted.stuck.older_s), parameter(wanted.stuck.silent_s))
    if wanted.priority is not None:
        yield f"t.priority = {parameter(wanted.priority)}::text"
    if wanted.slug is not None:
        number = parameter(pattern_of(wanted.slug))
        yield (
            f"(t.slug ILIKE {number}::text OR t.slug IS NULL AND EXISTS "
            f"(SELECT FROM articles a WHERE a.id = t.article_id AND a.slug ILIKE {number}::text))"
        )
    if wanted.error is not None:
        yield f"t.error_message ILIKE {parameter(pattern_of(wanted.error))}::text"


def _walks(wanted: TaskFilter) -> Iterator[Branch]:
    """The indexes to walk along; of each the rows with a time and those without."""
    statuses = [status for status in STATUSES if not wanted.statuses or status in wanted.statuses]
    if wanted.group is not None:
        statuses = [status for status in statuses if status == "failed"]
    if wanted.worker is not None or wanted.stuck is not None:
        statuses = [status for status in statuses if status == "processing"]
    if wanted.ids is not None or wanted.article is not None:
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
            for scope in _scopes(status, wanted):
                yield from _halves(scope, _TIME_BY_STATUS[status])


def _scopes(status: str, wanted: TaskFilter) -> Iterator[str]:
    if status != "pending":
        yield f"t.status = '{status}'"
        return
    for rank, priority in enumerate(PRIORITIES):  # as the index of the claim has them
        if wanted.priority in (None, priority):
            yield f"t.status = 'pending' AND {_RANK} = {rank}"


def _halves(scope: str, time: str) -> Iterator[Branch]:
    order = f"{time} {{0}}, t.id {{0}}"
    yield Branch(f"{scope} AND {time} IS NULL", None, order)
    yield Branch(f"{scope} AND {time} IS NOT NULL", time, order)
