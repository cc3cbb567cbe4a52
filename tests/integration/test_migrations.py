"""Migrations on an empty database: up, status, verify, rollback, and what a wrong schema is told."""

from __future__ import annotations

import asyncio

import pytest

from embedq_worker.actions import article_trigger
from embedq_worker.errors import MIGRATE, SchemaError, UsageError
from embedq_worker.insights.overview import overview
from embedq_worker.schema import migrations
from embedq_worker.schema.check import SchemaObject, expected_objects
from embedq_worker.schema.files import load_migrations, runs_in_transaction, statements_of
from embedq_worker.schema.public import PUBLIC_COLUMNS
from embedq_worker.schema.state import in_other_schema, require_current, status
from tests.support.catalog import catalog
from tests.support.content import add_articles, queued_articles
from tests.support.databases import DIMENSIONS, Connection, Database

pytestmark = pytest.mark.matrix

ALL = [migration.version for migration in load_migrations()]


@pytest.fixture
async def empty(empty_database: Database) -> Connection:
    return await empty_database.connect()


def without_extensions(lines: set[str]) -> set[str]:
    """They stay: another program may have come to use them."""
    return {line for line in lines if not line.startswith("extension")}


async def test_up_makes_the_schema_once(empty_database: Database, empty: Connection) -> None:
    lines: list[str] = []
    assert await migrations.up(empty_database.settings, lines.append) == ALL
    assert len(lines) >= len(ALL)
    made = await catalog(empty)
    assert await migrations.up(empty_database.settings) == []
    assert await catalog(empty) == made
    assert await migrations.verify(empty) == []
    await require_current(empty)
    states = await status(empty)
    assert [state.version for state in states] == ALL
    assert {state.state for state in states} == {"applied"}
    assert all(state.applied_at and state.applied_by and state.program for state in states)
    assert all(state.seconds is not None and 0 <= state.seconds < 60 for state in states)


@pytest.mark.pgvector
async def test_vectors_have_the_dimensions_of_the_settings(connection: Connection) -> None:
    column = """SELECT format_type(atttypid, atttypmod) FROM pg_attribute
                WHERE attrelid = 'embeddings'::regclass AND attname = 'vector'"""
    assert await connection.fetchval(column) == f"vector({DIMENSIONS})"


async def test_up_to_a_target_and_on(empty_database: Database, empty: Connection) -> None:
    assert await migrations.up(empty_database.settings, target=2) == [1, 2]
    with pytest.raises(SchemaError):
        await require_current(empty)
    pending = [state.version for state in await status(empty) if state.state == "pending"]
    assert pending == ALL[2:]
    assert {problem.code for problem in await migrations.verify(empty)} == {"pending"}
    assert await migrations.up(empty_database.settings) == ALL[2:]
    await require_current(empty)


async def test_a_database_never_migrated_is_told_so(empty: Connection) -> None:
    assert {state.state for state in await status(empty)} == {"pending"}
    with pytest.raises(SchemaError):
        await require_current(empty)
    codes = {problem.code for problem in await migrations.verify(empty)}
    assert codes == {"pending", "missing"}


async def test_each_version_can_be_taken_back_and_leaves_what_the_one_before_made(
    empty_database: Database, empty: Connection
) -> None:
    after: dict[int, set[str]] = {}
    for version in ALL:
        await migrations.up(empty_database.settings, target=version)
        after[version] = without_extensions(await catalog(empty))
    for version in reversed(ALL[:-1]):
        assert await migrations.rollback(empty_database.settings, version) == [version + 1]
        assert without_extensions(await catalog(empty)) == after[version], version
    assert await migrations.up(empty_database.settings) == ALL[1:]
    assert without_extensions(await catalog(empty)) == after[ALL[-1]]


async def test_rolling_back_ours_leaves_the_public_tables(
    empty_database: Database, empty: Connection
) -> None:
    await migrations.up(empty_database.settings, target=2)
    public = await catalog(empty)
    await migrations.up(empty_database.settings)
    assert await migrations.rollback(empty_database.settings, 2) == ALL[:1:-1]
    assert await catalog(empty) == public
    assert await migrations.rollback(empty_database.settings, 2) == []


async def test_rolling_back_ours_puts_back_what_our_workers_hold(
    database: Database, connection: Connection
) -> None:
    """Only an age would tell another program that nobody works on it any more."""
    ours, theirs = await queued_articles(connection, 2)
    claim = "UPDATE embedding_tasks SET status = 'processing', processed_at = now()"
    await connection.execute(f"{claim}, claimed_at = now() WHERE article_id = $1", ours)
    await connection.execute(f"{claim} WHERE article_id = $1", theirs)
    await migrations.rollback(database.settings, 2)
    rows = await connection.fetch(
        "SELECT article_id, status, processed_at IS NULL AS free FROM embedding_tasks ORDER BY article_id"
    )
    assert [tuple(row) for row in rows] == [(ours, "pending", True), (theirs, "processing", False)]


async def test_taking_the_migration_back_takes_the_trigger_along(
    database: Database, connection: Connection
) -> None:
    await article_trigger.install(connection, max_attempts=3)
    await migrations.rollback(database.settings, 12)
    await add_articles(connection, ["text"])
    await migrations.up(database.settings)
    assert not (await article_trigger.status(connection)).installed


async def test_rolling_back_everything_leaves_nothing(empty_database: Database, empty: Connection) -> None:
    before = without_extensions(await catalog(empty))
    await migrations.up(empty_database.settings)
    assert await migrations.rollback(empty_database.settings, 1) == ALL[:0:-1]
    assert not [line for line in await catalog(empty) if "embedding_" in line or "performance_" in line]
    assert await migrations.rollback(empty_database.settings, 0) == [1]
    assert without_extensions(await catalog(empty)) == before


async def test_articles_are_never_rolled_away(database: Database, connection: Connection) -> None:
    await connection.execute("INSERT INTO articles (title, slug, content) VALUES ('A', 'a', 'text')")
    with pytest.raises(SchemaError) as raised:
        await migrations.rollback(database.settings, 0)
    assert raised.value.advice
    assert await connection.fetchval("SELECT count(*) FROM articles") == 1
    assert await migrations.up(database.settings) == ALL[1:]


async def test_there_is_no_rolling_back_to_nowhere(database: Database) -> None:
    for version in (-1, ALL[-1] + 1):
        with pytest.raises(UsageError):
            await migrations.rollback(database.settings, version)


async def test_a_changed_file_is_refused_and_the_remedy_works(
    database: Database, connection: Connection
) -> None:
    await connection.execute("UPDATE embedq_migrations SET checksum = 'other' WHERE version = 3")
    assert [state.version for state in await status(connection) if state.state == "changed"] == [3]
    assert [problem.code for problem in await migrations.verify(connection)] == ["changed"]
    with pytest.raises(SchemaError) as raised:
        await migrations.up(database.settings)
    await require_current(connection)  # a worker need not stop for it
    await connection.execute(raised.value.advice[raised.value.advice.index("UPDATE ") :])
    assert await migrations.up(database.settings) == []
    assert await migrations.verify(connection) == []


async def test_tables_that_are_in_another_schema_are_not_to_be_made_again(
    database: Database, connection: Connection
) -> None:
    await connection.execute("CREATE SCHEMA other; SET search_path = other")
    with pytest.raises(SchemaError) as told:
        await require_current(connection)
    assert "public" in told.value.message
    assert told.value.advice != MIGRATE
    with pytest.raises(SchemaError, match="public"):
        await overview(connection, database.settings)


async def test_a_newer_schema_is_refused(database: Database, connection: Connection) -> None:
    await connection.execute(
        """INSERT INTO embedq_migrations (version, name, checksum, program, seconds)
           VALUES (990, 'of_tomorrow', 'x', '9.9', 0)"""
    )
    with pytest.raises(SchemaError):
        await require_current(connection)
    with pytest.raises(SchemaError):
        await migrations.up(database.settings)
    with pytest.raises(SchemaError):
        await migrations.rollback(database.settings, 2)
    assert [problem.code for problem in await migrations.verify(connection)] == ["newer_schema"]
    assert (await status(connection))[-1].state == "unknown"


@pytest.mark.parametrize(
    ("damage", "code", "named"),
    [
        ("DROP INDEX embedq_tasks_busy_idx", "missing", "embedq_tasks_busy_idx"),
        (
            "ALTER TABLE embedding_tasks DISABLE TRIGGER embedq_count_insert",
            "disabled",
            "embedq_count_insert",
        ),
        ("DROP TRIGGER embedq_count_delete ON embedding_tasks", "missing", "embedq_count_delete"),
        ("DROP FUNCTION embedq_lock_status() CASCADE", "missing", "embedq_lock_status"),
        ("DROP TABLE embedq_control CASCADE", "missing", "embedq_control"),
        ("DROP VIEW embedq_live_counts CASCADE", "missing", "embedq_live_counts"),
        ("ALTER TABLE embedding_tasks DROP COLUMN claim_token", "missing", "claim_token"),
        ("ALTER TABLE embedding_tasks DROP COLUMN metadata CASCADE", "missing", "metadata"),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'embedq_audit_time_idx'::regclass",
            "invalid",
            "embedq_audit_time_idx",
        ),
        ("ALTER SCHEMA public RENAME TO moved; SET search_path = moved", "unsuitable", "moved"),
        (
            """CREATE SCHEMA moved; ALTER TABLE embedding_tasks SET SCHEMA moved;
               SET search_path = moved, public""",
            "unsuitable",
            "moved",
        ),
        (
            """SELECT embedq_article_trigger_install(3);
               ALTER TABLE articles DISABLE TRIGGER embedq_article_insert""",
            "disabled",
            "embedq_article_insert",
        ),
        (
            """DO $$ BEGIN EXECUTE format(
                   'ALTER ROLE %I IN DATABASE %I SET session_replication_role = replica',
                   current_user, current_database()); END $$""",
            "disabled",
            "session_replication_role",
        ),
    ],
)
async def test_damage_is_found(connection: Connection, damage: str, code: str, named: str) -> None:
    await connection.execute(damage)
    problems = await migrations.verify(connection)
    assert any(problem.code == code and named in problem.message for problem in problems)
    assert all(problem.advice for problem in problems)


async def test_everything_of_ours_is_expected(connection: Connection) -> None:
    kinds = {
        "table": "SELECT relname, '' FROM pg_class WHERE relkind IN ('r', 'v') AND relname LIKE 'embedq%'",
        "function": "SELECT DISTINCT proname, '' FROM pg_proc WHERE proname LIKE 'embedq%'",
        "trigger": "SELECT tgname, tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal",
        "index": """SELECT i.indexrelid::regclass::text, '' FROM pg_index i
                    WHERE i.indexrelid::regclass::text LIKE 'embedq%'
                      AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)""",
    }
    expected = {each for each in expected_objects(load_migrations()) if "embedq" in each.name}
    found = {
        SchemaObject(kind, row[0], row[1])  # type: ignore[arg-type]
        for kind, query in kinds.items()
        for row in await connection.fetch(query)
    }
    found.discard(SchemaObject("table", "embedq_migrations"))
    assert expected == found


async def test_of_two_started_at_once_the_second_finds_nothing_to_do(
    empty_database: Database, empty: Connection
) -> None:
    results = await asyncio.gather(*(migrations.up(empty_database.settings) for _ in range(4)))
    assert sorted(results) == [[], [], [], ALL]
    assert await migrations.verify(empty) == []


@pytest.mark.parametrize("schema", ["Our app", 'one, "two"'])
async def test_a_schema_other_than_public(empty_database: Database, empty: Connection, schema: str) -> None:
    ours = await empty.fetchval("SELECT quote_ident($1)", schema)
    await empty.execute(f"CREATE SCHEMA {ours}")
    settings = empty_database.in_schema(schema)
    assert await migrations.up(settings) == ALL
    assert await empty.fetchval("SELECT to_regclass('embedding_tasks') IS NULL")
    await empty.execute(f"SET search_path = {ours}")
    assert await migrations.verify(empty) == []
    await empty.execute("INSERT INTO embedding_tasks (operation, slug) VALUES ('create', 'a')")
    await empty.execute("RESET search_path")
    await empty.execute(f"INSERT INTO {ours}.embedding_tasks (operation, slug) VALUES ('create', 'b')")
    assert await empty.fetchval(f"SELECT sum(n) FROM {ours}.embedq_live_counts") == 2
    assert await migrations.rollback(settings, 0) == ALL[::-1]


async def test_a_role_that_may_not_use_the_schema_is_told_so(connection: Connection) -> None:
    async with connection.transaction():  # with which the role goes again
        await connection.execute(
            """CREATE ROLE embedq_outsider; REVOKE USAGE ON SCHEMA public FROM PUBLIC;
               SET LOCAL ROLE embedq_outsider"""
        )
        told = await in_other_schema(connection)
        assert told
        assert "USAGE" in told.advice
        await connection.execute("SET LOCAL search_path = elsewhere")
        told = await in_other_schema(connection)
        assert told
        assert "USAGE" not in told.advice
        await connection.execute(
            "RESET ROLE; GRANT USAGE ON SCHEMA public TO PUBLIC; DROP ROLE embedq_outsider"
        )


def test_files_are_numbered_without_gaps_and_have_a_way_back() -> None:
    assert list(range(1, len(ALL) + 1)) == ALL
    assert all(statements_of(migration.down) for migration in load_migrations())


def test_indexes_on_the_public_tables_are_built_without_blocking_writers() -> None:
    for migration in load_migrations()[2:]:
        for statement in statements_of(migration.up):
            on_public = any(f"ON {table} " in " ".join(statement.split()) for table in PUBLIC_COLUMNS)
            if "CREATE INDEX" in statement or "CREATE UNIQUE INDEX" in statement:
                assert ("CONCURRENTLY IF NOT EXISTS" in statement) == on_public, statement
                assert runs_in_transaction(migration.up) != on_public, statement


class TestStatements:
    def test_semicolons_that_end_nothing(self) -> None:
        text = """-- one; two
            SELECT ';' AS ";", $$;$$, $a$ $$;$$ $a$ /* ; */; ;
            -- nothing; here
            SELECT 'it''s;';
        """
        assert [one.split("SELECT")[1].strip() for one in statements_of(text)] == [
            """';' AS ";", $$;$$, $a$ $$;$$ $a$ /* ; */""",
            "'it''s;'",
        ]

    def test_the_last_one_needs_no_semicolon(self) -> None:
        assert statements_of("SELECT 1; SELECT 2") == ["SELECT 1", "SELECT 2"]
        assert statements_of(" -- only a comment\n;") == []
