"""Compare a database with what the migrations create."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Literal, NamedTuple

from embedq_worker.database.connections import Connection
from embedq_worker.errors import MIGRATE
from embedq_worker.schema.files import Migration, MigrationId, load_migrations, statements_of

Kind = Literal["table", "column", "index", "trigger", "function"]

REPEATABLE = frozenset({1, 2, 3, 6})
"""Versions that may be applied again, because they add only what is absent: public tables, their columns and
indexes. Tools that make a database equal to the models of a program drop these."""


class Problem(NamedTuple):
    """What is wrong with a schema.

    Attributes:
        code: For scripts: ``pending``, ``changed``, ``newer_schema``, ``missing``, ``unsuitable``,
            ``invalid``, ``disabled``.
        message: What is wrong, in one line.
        advice: What to do about it.
    """

    code: str
    message: str
    advice: str


class SchemaObject(NamedTuple):
    """An object that a migration creates.

    Attributes:
        kind: Its kind; a view counts as a table.
        name: Its name.
        table: The table of a column or a trigger; empty for other kinds.
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
    """Objects that exist after these migrations; columns created with their table are not listed.

    Args:
        files: Migrations in order.
    """
    return set(_makers(files))


@cache  # `health` asks every few seconds
def _known_makers(versions: frozenset[int]) -> Mapping[SchemaObject, MigrationId]:
    """`_makers` of these versions."""
    return _makers(migration for migration in load_migrations() if migration.version in versions)


def _makers(files: Iterable[Migration]) -> dict[SchemaObject, MigrationId]:
    """The migration that creates each object."""
    found: dict[SchemaObject, MigrationId] = {}
    for migration in files:
        maker = migration.id
        for statement in statements_of(migration.up):
            text = " ".join(_NOISE.sub("", statement).split())
            for made in _made_by(text):
                found.setdefault(made, maker)
            if gone := _REMOVES.match(text):
                kind = gone["kind"].lower().replace("view", "table")
                for each in [each for each in found if (each.kind, each.name) == (kind, gone["name"])]:
                    del found[each]
    return found


def _made_by(statement: str) -> Iterator[SchemaObject]:
    for kind, pattern in _MAKES:
        if match := pattern.match(statement):
            yield SchemaObject(kind, match["name"], match.groupdict().get("table") or "")
    if match := _ALTERS.match(statement):
        for column in _ADDS.finditer(statement):
            yield SchemaObject("column", column["name"], match["table"])


async def missing_objects(connection: Connection, versions: Iterable[int]) -> list[Problem]:
    """Objects that migrations created and that are now missing, invalid or disabled.

    Args:
        connection: To the database.
        versions: The applied ones.

    Raises:
        asyncpg.PostgresError: A query failed.
    """
    faults = await _faults(connection, versions)
    remedy = _remedy(_lost(faults))
    return [_problem(what, fault, maker.label, remedy) for what, fault, maker in faults]


async def lost_versions(connection: Connection, versions: Iterable[int]) -> set[int]:
    """Those of the applied versions some of whose objects are missing; see `missing_objects`."""
    return _lost(await _faults(connection, versions))


def foremost(problems: Sequence[Problem]) -> Problem:
    """The first of several problems, with the number of the others."""
    first = problems[0]
    if more := len(problems) - 1:
        return first._replace(message=f"{first.message} (and {more} more: embedq-tui migrate verify)")
    return first


def _lost(faults: Iterable[tuple[SchemaObject, str, MigrationId]]) -> set[int]:
    return {maker.version for _, fault, maker in faults if fault == "missing"}


async def _faults(
    connection: Connection, versions: Iterable[int]
) -> list[tuple[SchemaObject, str, MigrationId]]:
    """Objects that are not as these versions made them, what is wrong, and which made them."""
    makers = _known_makers(frozenset(versions))
    ordered = sorted(makers, key=lambda each: (each.kind, each.table, each.name))
    rows = await connection.fetch(
        """SELECT CASE o.kind
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
        [each.kind for each in ordered],
        [each.name for each in ordered],
        [each.table for each in ordered],
    )
    return [
        (what, row["fault"], makers[what]) for what, row in zip(ordered, rows, strict=True) if row["fault"]
    ]


# Our functions keep the names of the schemas they search: those of the operator's tables, and their own.
_ASTRAY = """
WITH functions AS (
    SELECT p.pronamespace AS home, p.proowner AS owner, substr(s.setting, 13) AS path
    FROM pg_proc p CROSS JOIN unnest(p.proconfig) AS s(setting)
    WHERE p.proname LIKE E'embedq\\\\_%' AND pg_function_is_visible(p.oid) AND s.setting LIKE 'search_path=%'
), needed AS (
    SELECT c.relnamespace AS schema
    FROM unnest($1::text[]) AS t(name) JOIN pg_class c ON c.oid = to_regclass(t.name)
    UNION
    SELECT home FROM functions
)
SELECT n.oid::regnamespace::text AS schema, min(f.path) AS path
FROM needed JOIN pg_namespace n ON n.oid = needed.schema
JOIN functions f ON n.nspname <> ALL (ARRAY(
    SELECT replace(coalesce(replace(part[1], '""', '"'), part[2]), '$user', pg_get_userbyid(f.owner))
    FROM regexp_matches(f.path, '"((?:[^"]|"")*)"|([^", ]+)', 'g') AS part))
GROUP BY 1 ORDER BY 1"""

_ASLEEP = """
SELECT tgname FROM pg_trigger
WHERE tgrelid = to_regclass('articles') AND tgname LIKE E'embedq\\\\_article\\\\_%'
  AND tgenabled NOT IN ('O', 'A')
ORDER BY tgname"""

# Roles that write no tasks may have it, as those that restore other tables.
_SILENCED = """
SELECT CASE WHEN setrole = 0 AND setdatabase = 0 THEN 'ROLE ALL'
            WHEN setrole = 0 THEN 'DATABASE ' || quote_ident(current_database())
            WHEN setdatabase = 0 THEN 'ROLE ' || quote_ident(pg_get_userbyid(setrole))
            ELSE format('ROLE %I IN DATABASE %I', pg_get_userbyid(setrole), current_database())
       END AS owner
FROM pg_db_role_setting CROSS JOIN unnest(setconfig) AS s(setting)
WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND s.setting ILIKE 'session_replication_role=replica'
  AND (setrole = 0 OR has_table_privilege(setrole, to_regclass('embedding_tasks'), 'INSERT, UPDATE, DELETE'))
ORDER BY 1"""


async def idle_objects(connection: Connection, tables: Iterable[str]) -> list[Problem]:
    """Objects that are there and do not work: after a schema was renamed, or switched off for a bulk load.

    Args:
        connection: To the database.
        tables: The operator's tables.

    Raises:
        asyncpg.PostgresError: A query failed.
    """
    problems = [
        Problem(
            "unsuitable",
            f"embedq's functions search {row['path']}, but not the schema {row['schema']}",
            "if it was renamed, or a table moved there, undo that, or tell the functions: docs/emergency.md",
        )
        for row in await connection.fetch(_ASTRAY, list(tables))
    ]
    for row in await connection.fetch(_ASLEEP):
        enable = f"ALTER TABLE articles ENABLE TRIGGER {row['tgname']}; then: embedq-tui backfill"
        problems.append(Problem("disabled", f"the trigger {row['tgname']} of articles is disabled", enable))
    for row in await connection.fetch(_SILENCED):
        problems.append(
            Problem(
                "disabled",
                f"session_replication_role = replica is the default of {row['owner']}: no trigger runs there",
                f"ALTER {row['owner']} RESET session_replication_role; reconnect its programs; "
                "then: embedq-tui verify --repair, embedq-tui backfill",
            )
        )
    return problems


def _remedy(lost: set[int]) -> str:
    """What to do about missing objects, the same for all of them.

    Args:
        lost: Versions that created them.
    """
    if lost <= REPEATABLE:
        return MIGRATE
    return f"embedq-tui migrate rollback --to {min(lost - REPEATABLE) - 1}, then embedq-tui --migrate"


def _problem(what: SchemaObject, fault: str, maker: str, remedy: str) -> Problem:
    name = f"{what.kind} {what.name}" + (f" of {what.table}" if what.table else "")
    if fault == "disabled":
        return Problem(
            fault, f"the {name} is disabled", f"ALTER TABLE {what.table} ENABLE TRIGGER {what.name}"
        )
    if fault == "invalid":
        return Problem(fault, f"the {name} is invalid", f"REINDEX INDEX CONCURRENTLY {what.name}")
    return Problem(fault, f"the {name} of {maker} is missing", remedy)
