"""Requirements on the operator's own tables: the columns, types and keys that embedq relies on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from embedq_worker.database.connections import Connection
from embedq_worker.errors import MIGRATE
from embedq_worker.schema.check import Problem, expected_objects
from embedq_worker.schema.files import Migration

_PUBLIC_TABLES = """\
articles id:int4 title slug content folder is_public:bool no_rag:bool created_at:timestamptz \
    updated_at:timestamptz created_by updated_by
embeddings id:int4/int8 article_id:int4 chunk_id chunk_index:int4 heading_path:_text/_varchar text_content \
    content_hash created_at:timestamptz
embedding_tasks id:uuid article_id:int4 slug operation priority status attempts:int4/int2 \
    max_attempts:int4/int2 created_at:timestamptz scheduled_at:timestamptz processed_at:timestamptz \
    completed_at:timestamptz error_message metadata:jsonb
embedding_worker_status id:int4/int8 is_running:bool last_heartbeat:timestamptz tasks_processed:int4/int8 \
    tasks_succeeded:int4/int8 tasks_failed:int4/int8 started_at:timestamptz
embedding_audit_logs id:uuid timestamp:timestamptz level category message task_id:uuid article_id:int4/int8 \
    operation_id metadata:jsonb duration:numeric/float8/int4/int8 error stack_trace
performance_metrics id:uuid timestamp:timestamptz metric_type value:numeric/float8 unit task_id:uuid \
    article_id:int4/int8 operation_id metadata:jsonb
"""
"""Columns with their accepted types; a column without one may have any string type."""

_TYPES: Mapping[str, Mapping[str, str]] = {
    table: {name: types for name, _, types in (column.partition(":") for column in columns)}
    for table, *columns in map(str.split, _PUBLIC_TABLES.splitlines())
}

PUBLIC_COLUMNS: Mapping[str, Sequence[str]] = {table: list(columns) for table, columns in _TYPES.items()}
"""Required columns by table, whoever created it; `embeddings` also needs `vector` or `vector_data`."""

_KEYS: Mapping[str, Sequence[str]] = {"articles": ["slug"], "embeddings": ["article_id", "chunk_index"]}

_EMPTIED: Mapping[str, Sequence[str]] = {
    "embedding_tasks": ["processed_at", "completed_at", "error_message", "metadata"],
    "embedding_audit_logs": ["stack_trace"],
}
"""Columns that are set to null, so that a default does not help."""

_MAY_BE_PARTITIONED = ("embedding_audit_logs", "performance_metrics")

_COLUMNS = """
SELECT a.attname AS name, coalesce(b.typname, y.typname)::text AS type, y.typcategory = 'S' AS text,
       coalesce(col_description(a.attrelid, a.attnum) LIKE 'made by embedq %', false) AS ours,
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND y.typdefault IS NULL
       AND NOT EXISTS (SELECT FROM pg_trigger t  -- before each row that is inserted: it may fill the column
                       WHERE t.tgrelid = a.attrelid AND NOT t.tgisinternal AND t.tgtype & 7 = 7) AS required,
       a.attnotnull AS filled
FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
LEFT JOIN pg_type b ON b.oid = y.typbasetype
WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped"""

_ONE_PENDING = """
SELECT i.indexrelid::regclass::text FROM pg_index i
WHERE i.indrelid = to_regclass('embedding_tasks') AND i.indisunique
  AND (pg_get_expr(i.indpred, i.indrelid) LIKE '%pending%'
           AND pg_get_expr(i.indpred, i.indrelid) NOT LIKE '%processing%'
       OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attname = 'status'
                  AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])))
  AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attname = 'id'
                  AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]))
ORDER BY 1"""


async def public_problems(connection: Connection) -> list[Problem]:
    """What the operator's tables lack, or have in a form that embedq cannot work with.

    Raises:
        asyncpg.PostgresError: A query failed.
    """
    problems = []
    for table in PUBLIC_COLUMNS:
        kind = await connection.fetchval(
            "SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1)", table
        )
        if kind is None:
            problems.append(Problem("missing", f"there is no table {table}", MIGRATE))
            continue
        rows = await connection.fetch(_COLUMNS, table)
        found = list(_lacking(table, {row["name"] for row in rows}))
        found += _mistyped(table, {row["name"]: "" if row["text"] else row["type"] for row in rows})
        found += _required(table, [row["name"] for row in rows if row["required"]])
        found += _never_empty(table, {row["name"] for row in rows if row["filled"]})
        if kind != "r" and not (kind == "p" and table in _MAY_BE_PARTITIONED):
            what = "is partitioned" if kind == "p" else "is a view or a foreign table"
            found.append(Problem("unsuitable", f"{table} {what}", "embedq requires an ordinary table"))
        if not found and not await _is_unique(connection, table):
            columns = ", ".join(_KEYS[table])
            message = f"the table {table} has no unique index on ({columns})"
            advice = f"CREATE UNIQUE INDEX CONCURRENTLY ON {table} ({columns})"
            found.append(Problem("missing", message, advice))
        problems += found
    problems += [
        Problem(
            "unsuitable",
            f"the unique index {name} keeps a task from returning to the queue while another one is pending",
            "let its condition include status 'processing': status IN ('pending', 'processing')",
        )
        for (name,) in await connection.fetch(_ONE_PENDING)
    ]
    return problems


async def absent_tables(connection: Connection) -> list[str]:
    """The operator's tables that do not exist.

    Raises:
        asyncpg.PostgresError: A query failed.
    """
    rows = await connection.fetch(
        "SELECT t.name FROM unnest($1::text[]) AS t(name) WHERE to_regclass(t.name) IS NULL",
        list(PUBLIC_COLUMNS),
    )
    return [row["name"] for row in rows]


async def names_taken(connection: Connection, files: Iterable[Migration]) -> list[Problem]:
    """Columns of the operator's tables, not made by embedq, whose names these migrations would add.

    Args:
        connection: To the database.
        files: Pending migrations.

    Raises:
        asyncpg.PostgresError: A query failed.
    """
    ours = sorted(each for each in expected_objects(files) if each.kind == "column" and each.table in _TYPES)
    return [
        Problem(
            "unsuitable",
            f"the table {column.table} already has a column {column.name}",
            "rename it: embedq adds a column of that name, and a rollback would drop it",
        )
        for column in ours
        if any(
            row["name"] == column.name and not row["ours"]
            for row in await connection.fetch(_COLUMNS, column.table)
        )
    ]


def _lacking(table: str, columns: set[str]) -> Iterator[Problem]:
    lacking = [name for name in PUBLIC_COLUMNS[table] if name not in columns]
    if table == "embeddings" and not {"vector", "vector_data"} & columns:
        lacking.append("vector (or vector_data)")
    if lacking:
        message = f"the table {table} has no column {', '.join(lacking)}"
        yield Problem("missing", message, "add it; sql/001 and sql/002 of embedq show its type")


def _mistyped(table: str, columns: Mapping[str, str]) -> Iterator[Problem]:
    """Problems with the types of columns.

    Args:
        table: Their table.
        columns: Types by name; empty for a string type.
    """
    wanted = dict(_TYPES[table])
    if table == "embeddings":
        wanted |= {"vector": "vector"} if "vector" in columns else {"vector_data": "jsonb"}
    for name, types in wanted.items():
        if name in columns and columns[name] not in types.split("/"):
            message = f"the column {table}.{name} is of type {columns[name] or 'text'}"
            known = types.replace("/", " or ").replace("_", "array of ") or "text or varchar"
            yield Problem("unsuitable", message, f"embedq requires the type {known}")


def _required(table: str, columns: Iterable[str]) -> Iterator[Problem]:
    """Columns that embedq does not know and would have to fill.

    Args:
        table: Their table; the operator's programs insert the articles.
        columns: Those that take no null and have no default.
    """
    known = {*PUBLIC_COLUMNS[table], "vector", "vector_data"}
    for name in columns:
        if table != "articles" and name not in known:
            yield Problem(
                "unsuitable",
                f"the column {table}.{name} takes no null and has no default: embedq cannot insert rows",
                f"give it one: ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT ..; or let it be null",
            )


def _never_empty(table: str, columns: set[str]) -> Iterator[Problem]:
    """Columns that take no null, although embedq sets them to null.

    Args:
        table: Their table.
        columns: Those that take no null.
    """
    for name in _EMPTIED.get(table, ()):
        if name in columns:
            yield Problem(
                "unsuitable",
                f"the column {table}.{name} takes no null",
                f"let it: ALTER TABLE {table} ALTER COLUMN {name} DROP NOT NULL",
            )


async def _is_unique(connection: Connection, table: str) -> bool:
    """Whether the table has the unique key that our ON CONFLICT clauses need."""
    if table not in _KEYS:
        return True
    found: bool = await connection.fetchval(
        """SELECT EXISTS (
               SELECT FROM pg_index i
               WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indimmediate
                 AND i.indpred IS NULL AND $2::text[] = ARRAY(
                     SELECT a.attname::text FROM pg_attribute a
                     WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
                     ORDER BY a.attname))""",
        table,
        sorted(_KEYS[table]),
    )
    return found
