"""Compare a database with what the migrations make: the public columns, and every object of ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from embedq_worker.database.connections import Connection
from embedq_worker.schema.files import Migration, statements_of

_PUBLIC_TABLES = """\
articles id title slug content folder is_public no_rag created_at updated_at created_by updated_by
embeddings id article_id chunk_id chunk_index heading_path text_content content_hash created_at
embedding_tasks id article_id slug operation priority status attempts max_attempts created_at scheduled_at \
    processed_at completed_at error_message metadata
embedding_worker_status id is_running last_heartbeat tasks_processed tasks_succeeded tasks_failed started_at
embedding_audit_logs id timestamp level category message task_id article_id operation_id metadata duration \
    error stack_trace
performance_metrics id timestamp metric_type value unit task_id article_id operation_id metadata
"""

PUBLIC_COLUMNS: Mapping[str, Sequence[str]] = {
    table: columns for table, *columns in map(str.split, _PUBLIC_TABLES.splitlines())
}
"""What the operator's tables have, whoever made them; vectors are in `vector` or in `vector_data`."""

_KEYS: Mapping[str, Sequence[str]] = {"articles": ["slug"], "embeddings": ["article_id", "chunk_index"]}

Kind = Literal["table", "column", "index", "trigger", "function"]


class Problem(NamedTuple):
    """What is wrong with a schema.

    Attributes:
        code: For scripts: ``pending``, ``changed``, ``newer_schema``, ``missing``, ``invalid``, ``disabled``.
        message: What is wrong, one line.
        advice: What to do about it.
    """

    code: str
    message: str
    advice: str


class SchemaObject(NamedTuple):
    """Something that a migration makes.

    Attributes:
        kind: What it is; a view counts as a table.
        name: Its name.
        table: The table of a column or a trigger; empty for the others.
    """

    kind: Kind
    name: str
    table: str = ""


_MAKES: Sequence[tuple[Kind, re.Pattern[str]]] = [
    ("table", re.compile(r"CREATE (?:TABLE|VIEW) (?:IF NOT EXISTS )?(?P<name>\w+)")),
    ("index", re.compile(r"CREATE (?:UNIQUE )?INDEX (?:CONCURRENTLY )?(?:IF NOT EXISTS )?(?P<name>\w+)")),
    ("function", re.compile(r"CREATE (?:OR REPLACE )?FUNCTION (?P<name>\w+)")),
    ("trigger", re.compile(r"CREATE (?:CONSTRAINT )?TRIGGER (?P<name>\w+) .*? ON (?P<table>\w+)")),
]
_REMOVES = re.compile(
    r"DROP (?P<kind>TABLE|VIEW|INDEX|FUNCTION|TRIGGER) (?:CONCURRENTLY )?(?:IF EXISTS )?(?P<name>\w+)"
)
_ALTERS = re.compile(r"ALTER TABLE (?P<table>\w+)")
_ADDS = re.compile(r"ADD COLUMN (?:IF NOT EXISTS )?(?P<name>\w+)")
_NOISE = re.compile(r"--[^\n]*")


def expected_objects(files: Iterable[Migration]) -> set[SchemaObject]:
    """What these migrations make and leave, the columns of public tables aside.

    Args:
        files: In order.
    """
    found: set[SchemaObject] = set()
    for migration in files:
        for statement in statements_of(migration.up):
            text = " ".join(_NOISE.sub("", statement).split())
            found.update(_made_by(text))
            if gone := _REMOVES.match(text):
                kind = gone["kind"].lower().replace("view", "table")
                found -= {each for each in found if (each.kind, each.name) == (kind, gone["name"])}
    return found


def _made_by(statement: str) -> Iterator[SchemaObject]:
    for kind, pattern in _MAKES:
        if match := pattern.match(statement):
            yield SchemaObject(kind, match["name"], match.groupdict().get("table") or "")
    if match := _ALTERS.match(statement):
        for column in _ADDS.finditer(statement):
            yield SchemaObject("column", column["name"], match["table"])


async def missing_objects(connection: Connection, files: Iterable[Migration]) -> list[Problem]:
    """Objects that the migrations made and that are gone, invalid or switched off.

    Args:
        connection: To the database.
        files: The migrations that were applied, in order.

    Raises:
        asyncpg.PostgresError: The database refuses.
    """
    expected = sorted(expected_objects(files), key=lambda each: (each.kind, each.table, each.name))
    rows = await connection.fetch(
        """SELECT o.kind, o.name, o.owner, CASE o.kind
               WHEN 'table' THEN CASE WHEN to_regclass(o.name) IS NULL THEN 'missing' END
               WHEN 'column' THEN (
                   SELECT CASE WHEN count(*) = 0 THEN 'missing' END FROM pg_attribute
                   WHERE attrelid = to_regclass(o.owner) AND attname = o.name AND NOT attisdropped)
               WHEN 'index' THEN (
                   SELECT CASE WHEN count(*) = 0 THEN 'missing'
                               WHEN NOT bool_and(indisvalid AND indisready) THEN 'invalid' END
                   FROM pg_index WHERE indexrelid = to_regclass(o.name))
               WHEN 'trigger' THEN (
                   SELECT CASE WHEN count(*) = 0 THEN 'missing'
                               WHEN NOT bool_and(tgenabled IN ('O', 'A')) THEN 'disabled' END
                   FROM pg_trigger WHERE tgrelid = to_regclass(o.owner) AND tgname = o.name)
               WHEN 'function' THEN (
                   SELECT CASE WHEN count(*) = 0 THEN 'missing' END FROM pg_proc
                   WHERE proname = o.name AND pg_function_is_visible(oid))
           END AS fault
           FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS o(kind, name, owner, place)
           ORDER BY o.place""",
        [each.kind for each in expected],
        [each.name for each in expected],
        [each.table for each in expected],
    )
    return [
        _problem(SchemaObject(row["kind"], row["name"], row["owner"]), row["fault"], files)
        for row in rows
        if row["fault"]
    ]


async def public_problems(connection: Connection) -> list[Problem]:
    """What the operator's tables lack of the columns and keys that everybody counts on.

    Raises:
        asyncpg.PostgresError: The database refuses.
    """
    rows = await connection.fetch(
        """SELECT t.name, ARRAY(
               SELECT attname::text FROM pg_attribute
               WHERE attrelid = to_regclass(t.name) AND attnum > 0 AND NOT attisdropped) AS columns
           FROM unnest($1::text[]) AS t(name)""",
        list(PUBLIC_COLUMNS),
    )
    problems = []
    for row in rows:
        table, columns = row["name"], row["columns"]
        lacking = [name for name in PUBLIC_COLUMNS[table] if name not in columns]
        if table == "embeddings" and not {"vector", "vector_data"} & set(columns):
            lacking.append("vector (or vector_data)")
        if not columns:
            problems.append(Problem("missing", f"there is no table {table}", "run: embedq-tui --migrate"))
        elif lacking:
            message = f"the table {table} has no column {', '.join(lacking)}"
            problems.append(
                Problem("missing", message, "add it; sql/001 and sql/002 of embedq show its type")
            )
        elif not await _is_unique(connection, table):
            columns_text = ", ".join(_KEYS[table])
            problems.append(
                Problem(
                    "missing",
                    f"nothing makes ({columns_text}) unique in the table {table}",
                    f"CREATE UNIQUE INDEX CONCURRENTLY ON {table} ({columns_text})",
                )
            )
    return problems


async def _is_unique(connection: Connection, table: str) -> bool:
    """Whether ON CONFLICT finds the key that storing into this table counts on."""
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


def _problem(what: SchemaObject, fault: str, files: Iterable[Migration]) -> Problem:
    name = f"{what.kind} {what.name}" + (f" of {what.table}" if what.table else "")
    if fault == "disabled":
        return Problem(
            fault, f"the {name} is disabled", f"ALTER TABLE {what.table} ENABLE TRIGGER {what.name}"
        )
    if fault == "invalid":
        return Problem(fault, f"the {name} is invalid", f"REINDEX INDEX CONCURRENTLY {what.name}")
    maker = next(file for file in files if what in expected_objects([file]))
    return Problem(
        fault,
        f"the {name} of {maker.label} is missing",
        f"embedq-tui migrate rollback --to {maker.version - 1}, then embedq-tui --migrate",
    )
