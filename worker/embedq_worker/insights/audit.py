"""The audit log, page by page, newest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg

from embedq_worker.database.connections import FILTER_TIMEOUT_S, Connection
from embedq_worker.errors import EmbedqError, UsageError
from embedq_worker.insights.events import Event, event_of
from embedq_worker.insights.tasks import WHOLE
from embedq_worker.queue.selection import BY_INDEX, PLAN, Cursor, Parameters, pattern_of

LEVELS = ("debug", "info", "warn", "error")
CATEGORIES = (
    "task_lifecycle",
    "worker_status",
    "queue_operations",
    "performance",
    "error_handling",
    "bulk_operations",
)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Rows that match all of these conditions; None matches any row.

    Attributes:
        level: This level or a more severe one.
        article: Id of the article.
        operation: Id of an operator's action or a backfill.
        since: At or after this; a duration counts back from now, by the database's clock.
        text: Contained in message, error or metadata, in any case.
    """

    level: str | None = None
    category: str | None = None
    task: UUID | None = None
    article: int | None = None
    operation: str | None = None
    since: datetime | timedelta | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        if self.level not in (None, *LEVELS) or self.category not in (None, *CATEGORIES):
            raise UsageError(f"no such level or category: {self.level or self.category}")

    def source(self, parameters: Parameters) -> str:
        """The table, or a subquery on the index by task."""
        if self.task is None:
            return "embedding_audit_logs"
        # OFFSET 0 keeps the planner from scanning the whole log by time instead.
        return f"(SELECT * FROM embedding_audit_logs WHERE task_id = {parameters.add(self.task)} OFFSET 0)"

    @property
    def order(self) -> str:
        """ORDER BY over ``l``: newest first."""
        by_time = "l.timestamp DESC, l.id DESC"
        return by_time if self.operation is None else f"l.operation_id DESC, {by_time}"

    def conditions(self, parameters: Parameters) -> Iterator[str]:
        """Conditions over ``l``, the log. SQL texts are constants; what an operator enters is a parameter."""
        # Literals, so that the partial index for the rare levels and categories matches.
        if self.level not in (None, LEVELS[0]):
            graver = LEVELS[LEVELS.index(self.level) :]
            yield f"l.level IN ({', '.join(map(repr, graver))})"
        if self.category is not None:
            yield f"l.category = '{self.category}'"
        for column, value in (("task_id", self.task), ("article_id", self.article)):
            if value is not None:
                yield f"l.{column} = {parameters.add(value)}"
        if self.operation is not None:
            # = ANY of an array hides from the planner that there is only one id. So `order` forces the index
            # on operations; otherwise the planner might scan the whole log by time.
            yield f"l.operation_id = ANY (ARRAY[{parameters.add(self.operation)}::text])"
        if isinstance(self.since, timedelta):
            yield f"l.timestamp >= now() - {parameters.add(self.since)}::interval"
        elif self.since is not None:
            yield f"l.timestamp >= {parameters.add(self.since)}::timestamptz"
        if self.text is not None:
            number = parameters.add(pattern_of(self.text))
            columns = ("l.message", "l.error", "l.metadata::text")
            yield f"({' OR '.join(f'{column} ILIKE {number}::text' for column in columns)})"


class AuditRow(NamedTuple):
    """A row of the audit log.

    Attributes:
        slug: Slug of the article, if that still exists.
        event: What happened.
    """

    id: UUID
    task_id: UUID | None
    article_id: int | None
    slug: str | None
    operation_id: str | None
    event: Event


class AuditPage(NamedTuple):
    """A page of the log.

    Attributes:
        at: The database's time.
        rows: Newest first.
        next: Position of the next page; None on the last one.
    """

    at: datetime
    rows: tuple[AuditRow, ...]
    next: Cursor | None


async def audit_page(
    connection: Connection,
    wanted: AuditFilter,
    *,
    limit: int = 50,
    after: Cursor | None = None,
    longest: int = WHOLE,
) -> AuditPage:
    """Read the newest rows, or those that follow a page.

    Reads one page from an index without a filter, or for an operation, the levels from warn on, or a category
    other than task_lifecycle; reads all rows of a task; with other filters, reads past the rows that do not
    match.

    Args:
        connection: To the migrated database.
        wanted: Which rows.
        limit: Rows per page.
        after: `AuditPage.next` of the previous page, with the same filter.
        longest: Maximum characters of a text.
    """
    parameters = Parameters((limit + 1, longest))
    source = wanted.source(parameters)
    conditions = [*wanted.conditions(parameters)]
    if after is not None:
        conditions.append(
            f"(l.timestamp, l.id)"
            f" < ({parameters.add(after.time)}::timestamptz, {parameters.add(after.id)}::uuid)"
        )
    statement = _PAGE.format(
        columns=audit_columns("$2::int"),
        source=source,
        conditions=" AND ".join(conditions) or "true",
        order=wanted.order,
    )
    async with connection.transaction(readonly=True):
        await connection.execute(BY_INDEX)
        rows = await connection.fetch(statement, *parameters, timeout=FILTER_TIMEOUT_S)
        at: datetime = await connection.fetchval("SELECT clock_timestamp()")
    found = tuple(row_of(row) for row in rows[:limit])
    last = Cursor(found[-1].event.at, found[-1].id) if found and len(rows) > limit else None
    return AuditPage(at, found, last)


async def logged_tasks(connection: Connection, begins: str) -> list[UUID]:
    """Tasks that the log tells of, deleted ones too; at most two, each by one index lookup.

    Args:
        connection: To the migrated database.
        begins: Beginning of the id, see `TaskFilter.id_begins`.
    """
    first, last = UUID(begins.ljust(32, "0")), UUID(begins.ljust(32, "f"))
    async with connection.transaction(readonly=True):
        await connection.execute(PLAN)
        rows = await connection.fetch(_LOGGED, first, last)
    return [row["task_id"] for row in rows]


# The first as a scalar, not a join: only so does it bound the scan for the second.
_LOGGED = """
WITH first AS (
    SELECT task_id FROM embedding_audit_logs WHERE task_id BETWEEN $1 AND $2 ORDER BY task_id LIMIT 1
), second AS (
    SELECT task_id FROM embedding_audit_logs
    WHERE task_id > (SELECT task_id FROM first) AND task_id <= $2 ORDER BY task_id LIMIT 1
)
SELECT task_id FROM first UNION ALL SELECT task_id FROM second
"""


async def require_operation(connection: Connection, operation: str) -> None:
    """Refuse the id of an operation that the log does not know.

    Args:
        connection: To the migrated database.
        operation: Its id; of other programs it may be any text.

    Raises:
        EmbedqError: There is none; perhaps what was meant is an operator.
    """
    async with connection.transaction(readonly=True):
        await connection.execute(PLAN)
        known = await connection.fetchval(_KNOWN, operation)
    if not known:
        raise EmbedqError(
            f"the audit log has no operation {operation!r}",
            "an operator is found by name, as text",
        )


# Not by =, which would leave the planner free to scan the whole log by another index.
_KNOWN = """
SELECT operation_id = $1::text
FROM (SELECT operation_id FROM embedding_audit_logs
      WHERE operation_id >= $1::text ORDER BY operation_id LIMIT 1) AS l
"""


def audit_columns(longest: str) -> str:
    """Columns of a row, with texts truncated in the database to bound the size of a page.

    Args:
        longest: Placeholder of the parameter with the number of characters.
    """
    texts = ", ".join(f"left(l.{name}, {longest}) AS {name}" for name in ("message", "error", "stack_trace"))
    return f"""l.id, l.timestamp, l.level, l.category, l.task_id, l.article_id, l.operation_id, l.metadata,
    l.duration, {texts}"""


_PAGE = """
SELECT l.*, (SELECT a.slug FROM articles a WHERE a.id = l.article_id) AS slug
FROM (SELECT {columns} FROM {source} AS l WHERE {conditions}
      ORDER BY {order} LIMIT $1::int) AS l
ORDER BY l.timestamp DESC, l.id DESC
"""


def row_of(row: asyncpg.Record) -> AuditRow:
    """A row from the columns of `audit_columns` and ``slug``."""
    return AuditRow(
        id=row["id"],
        task_id=row["task_id"],
        article_id=row["article_id"],
        slug=row["slug"],
        operation_id=row["operation_id"],
        event=event_of(row),
    )
