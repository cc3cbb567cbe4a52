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

_KEYS: Mapping[str, Sequence[Sequence[str]]] = {
    "articles": [["id"], ["slug"]],
    "embeddings": [["article_id", "chunk_index"]],
    "embedding_tasks": [["id"]],
    "embedding_worker_status": [["id"]],
}
"""What must be unique: rows are found by it, and ON CONFLICT needs it."""

_EMPTIED: Mapping[str, Sequence[str]] = {
    "embedding_tasks": ["processed_at", "completed_at", "error_message", "metadata"],
    "embedding_audit_logs": ["task_id", "article_id", "operation_id", "duration", "error", "stack_trace"],
}
"""Columns that are set to null, so that a default does not help."""

_LEFT_OUT: Mapping[str, Sequence[str]] = {
    "embeddings": ["id"],
    "embedding_worker_status": [
        "last_heartbeat",
        "tasks_processed",
        "tasks_succeeded",
        "tasks_failed",
        "started_at",
    ],
    "performance_metrics": ["task_id", "article_id", "operation_id"],
}
"""Columns that are not named where rows are inserted, so that a default does."""

_CHARACTERS: Mapping[str, Mapping[str, int]] = {
    "embeddings": {"chunk_id": 255, "content_hash": 64},
    "embedding_tasks": {"error_message": 1000},
    "embedding_audit_logs": {"message": 200, "error": 1000, "stack_trace": 10_000},
}
"""How many characters a column must take; the default of some ORMs is 255."""

_MAY_BE_PARTITIONED = ("embedding_audit_logs", "performance_metrics")

_COLUMNS = """
SELECT a.attname AS name, coalesce(b.typname, y.typname)::text AS type, y.typcategory = 'S' AS text,
       coalesce(col_description(a.attrelid, a.attnum) LIKE 'made by embedq %', false) AS ours,
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND y.typdefault IS NULL
       AND NOT EXISTS (SELECT FROM pg_trigger t  -- before each row that is inserted: it may fill the column
                       WHERE t.tgrelid = a.attrelid AND NOT t.tgisinternal AND t.tgtype & 7 = 7) AS required,
       a.attnotnull AS filled, a.attgenerated <> '' AS generated,
       greatest(a.atttypmod, y.typtypmod) - 4 AS characters
FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
LEFT JOIN pg_type b ON b.oid = y.typbasetype
WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped"""

_ONE_PENDING = """
SELECT i.indexrelid::regclass::text FROM pg_index i
WHERE i.indrelid = to_regclass('embedding_tasks') AND (i.indisunique OR i.indisexclusion)
  AND (pg_get_expr(i.indpred, i.indrelid) LIKE '%pending%'
           AND pg_get_expr(i.indpred, i.indrelid) NOT LIKE '%processing%'
       OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attname = 'status'
                  AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])))
  AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attname = 'id'
                  AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]))
ORDER BY 1"""

_CHILDREN = """
SELECT h.inhrelid::regclass::text AS child, h.inhparent::regclass::text AS parent
FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhparent
JOIN unnest($1::text[]) AS t(name) ON h.inhrelid = to_regclass(t.name)
                                   OR h.inhparent = to_regclass(t.name) AND p.relkind = 'r'
ORDER BY 1, 2"""

# Not those on articles, which only imports write, and those that keep rows from being deleted, except tasks.
_RULES = """
SELECT r.rulename::text AS rule, t.name AS table
FROM unnest($1::text[]) AS t(name) JOIN pg_class c ON c.oid = to_regclass(t.name) AND c.relkind <> 'v'
JOIN pg_rewrite r ON r.ev_class = c.oid
WHERE t.name = 'embedding_tasks' OR t.name <> 'articles' AND r.ev_type IN ('2', '3') ORDER BY 1"""

# If a task may outlive its article, what is logged of it names an article that is gone.
_HELD_BY_LOGS = """
SELECT f.conname::text AS name, f.conrelid::regclass::text AS table, f.confrelid::regclass::text AS held
FROM pg_constraint f
WHERE f.contype = 'f' AND f.conparentid = 0
  AND f.conrelid IN (to_regclass('embedding_audit_logs'), to_regclass('performance_metrics'))
  AND f.confrelid IN (to_regclass('articles'), to_regclass('embedding_tasks'))
  AND (f.confdeltype IN ('a', 'r')
       OR f.confrelid = to_regclass('articles')
          AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.contype = 'f' AND o.confrelid = f.confrelid
                          AND o.conrelid = to_regclass('embedding_tasks')))
ORDER BY 1"""


async def public_problems(connection: Connection) -> list[Problem]:
    """What the operator's tables lack, or have in a form that embedq cannot work with.

    Raises:
        asyncpg.PostgresError: A query failed.
    """
    problems: list[Problem] = []
    kinds, absent = await unsuitable_kinds(connection), await absent_tables(connection)
    for table in PUBLIC_COLUMNS:
        if table in absent:
            problems.append(Problem("missing", f"there is no table {table}", MIGRATE))
            continue
        rows = await connection.fetch(_COLUMNS, table)
        found = list(_lacking(table, {row["name"] for row in rows}))
        found += _mistyped(table, {row["name"]: "" if row["text"] else row["type"] for row in rows})
        found += _required(table, [row["name"] for row in rows if row["required"]])
        found += _never_empty(table, {row["name"] for row in rows if row["filled"]})
        found += _generated(table, {row["name"] for row in rows if row["generated"]})
        found += _too_short(table, {row["name"]: row["characters"] for row in rows if row["text"]})
        if table in kinds:
            found.append(kinds[table])
        for key in _KEYS.get(table, ()) if not found else ():
            if not await _is_unique(connection, table, key):
                columns = ", ".join(key)
                message = f"the table {table} has no unique index on ({columns})"
                advice = f"CREATE UNIQUE INDEX CONCURRENTLY ON {table} ({columns})"
                found.append(Problem("missing", message, advice))
        problems += found
    problems += await _entangled(connection)
    problems += [
        Problem(
            "unsuitable",
            f"the unique index {name} keeps a task from returning to the queue while another one is pending",
            "let its condition include status 'processing': status IN ('pending', 'processing')",
        )
        for (name,) in await connection.fetch(_ONE_PENDING)
    ]
    return problems


async def _entangled(connection: Connection) -> list[Problem]:
    """What makes other tables change with the operator's, or keeps rows from being deleted."""
    whole = [table for table in PUBLIC_COLUMNS if table not in _MAY_BE_PARTITIONED]
    problems = [
        Problem(
            "unsuitable",
            f"the table {row['child']} inherits from {row['parent']}",
            "embedq requires an ordinary table: what is written through the other one escapes its triggers",
        )
        for row in await connection.fetch(_CHILDREN, whole)
    ]
    problems += [
        Problem(
            "unsuitable",
            f"the rule {row['rule']} rewrites statements on {row['table']}",
            "make it a trigger: PostgreSQL does not allow rules in embedq's statements",
        )
        for row in await connection.fetch(_RULES, list(PUBLIC_COLUMNS))
    ]
    problems += [
        Problem(
            "unsuitable",
            f"the foreign key {row['name']} of {row['table']} keeps {row['held']} from being deleted, "
            "or refuses what is logged of deleted ones",
            "drop it; or let it ON DELETE SET NULL, and embedding_tasks reference articles, too",
        )
        for row in await connection.fetch(_HELD_BY_LOGS)
    ]
    return problems


async def unsuitable_kinds(connection: Connection) -> Mapping[str, Problem]:
    """The operator's tables that are no ordinary tables, by name.

    Raises:
        asyncpg.PostgresError: A query failed.
    """
    rows = await connection.fetch(
        """SELECT t.name, c.relkind = 'p' AS partitioned
           FROM unnest($1::text[]) WITH ORDINALITY AS t(name, place)
           JOIN pg_class c ON c.oid = to_regclass(t.name)
           WHERE c.relkind <> 'r' AND (c.relkind <> 'p' OR t.name <> ALL ($2::text[])) ORDER BY t.place""",
        list(PUBLIC_COLUMNS),
        _MAY_BE_PARTITIONED,
    )
    return {
        row["name"]: Problem(
            "unsuitable",
            f"{row['name']} {'is partitioned' if row['partitioned'] else 'is a view or a foreign table'}",
            "embedq requires an ordinary table",
        )
        for row in rows
    }


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
    """Columns that embedq does not fill and would have to.

    Args:
        table: Their table; the operator's programs insert the articles.
        columns: Those that take no null and have no default.
    """
    known = {*PUBLIC_COLUMNS[table], "vector", "vector_data"} - {*_LEFT_OUT.get(table, ())}
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


def _generated(table: str, columns: set[str]) -> Iterator[Problem]:
    """Columns that embedq would write, although the database generates them.

    Args:
        table: Their table; the operator's programs write the articles.
        columns: Those that are generated.
    """
    for name in PUBLIC_COLUMNS[table]:
        if table != "articles" and name in columns:
            yield Problem(
                "unsuitable",
                f"the column {table}.{name} is generated: embedq cannot write it",
                f"make it an ordinary one: ALTER TABLE {table} ALTER COLUMN {name} DROP EXPRESSION",
            )


def _too_short(table: str, columns: Mapping[str, int]) -> Iterator[Problem]:
    """Columns that do not take what embedq writes.

    Args:
        table: Their table.
        columns: Characters that each takes, by name; less than one for no limit.
    """
    for name, characters in _CHARACTERS.get(table, {}).items():
        if 0 < columns.get(name, 0) < characters:
            yield Problem(
                "unsuitable",
                f"the column {table}.{name} takes only {columns[name]} characters, not {characters}",
                f"ALTER TABLE {table} ALTER COLUMN {name} TYPE text",
            )


async def _is_unique(connection: Connection, table: str, key: Sequence[str]) -> bool:
    """Whether the table has a unique index on just these columns, which takes part in ON CONFLICT."""
    found: bool = await connection.fetchval(
        """SELECT EXISTS (
               SELECT FROM pg_index i
               WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indimmediate
                 AND i.indpred IS NULL AND $2::text[] = ARRAY(
                     SELECT a.attname::text FROM pg_attribute a
                     WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
                     ORDER BY a.attname))""",
        table,
        sorted(key),
    )
    return found
