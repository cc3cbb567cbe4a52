"""Migrations on databases that another program made and goes on using."""

from __future__ import annotations

from dataclasses import replace

import pytest

from embedq_worker.errors import EmbedqError, SchemaError
from embedq_worker.schema import migrations
from embedq_worker.schema.public import PUBLIC_COLUMNS
from tests.support.catalog import catalog
from tests.support.databases import DIMENSIONS, Database, Server
from tests.support.legacy import assert_counts_are_exact, every_variant, make_legacy, public_rows
from tests.support.piping import bench
from tests.support.provider_stub import ProviderStub

pytestmark = pytest.mark.matrix


@pytest.mark.parametrize("variant", every_variant())
async def test_nothing_public_is_renamed_or_lost(empty_database: Database, variant: str) -> None:
    connection = await empty_database.connect()
    await make_legacy(connection, variant)
    rows, objects = await public_rows(connection), await catalog(connection)

    await migrations.up(empty_database.settings)
    assert await migrations.verify(connection) == []
    after = await public_rows(connection)
    if variant == "extended":  # it had no row of the fleet, and gets one
        rows["embedding_worker_status"] = after["embedding_worker_status"]
    assert after == rows
    made = await catalog(connection)
    # The queue table gets storage parameters of ours, see test_migrations_vacuum.
    assert {line for line in objects - made if not line.startswith("relation r embedding_tasks ")} == set()
    counted = await connection.fetch(
        "SELECT status::text, priority::text, count(*) AS n FROM embedding_tasks GROUP BY 1, 2 ORDER BY 1, 2"
    )
    kept = await connection.fetch("SELECT * FROM embedq_live_counts WHERE n <> 0 ORDER BY 1, 2")
    assert [tuple(row) for row in kept] == [tuple(row) for row in counted]

    await migrations.rollback(empty_database.settings, 2)
    left = {line for line in await catalog(connection) if "embedq_migrations" not in line}
    assert left - {"extension pgcrypto"} == objects - {"extension pgcrypto"}
    assert await public_rows(connection) == rows


async def test_where_every_table_is_published_all_goes_on(legacy: Database) -> None:
    """Nothing can be deleted from a published table whose rows nothing identifies, not even by a trigger."""
    connection = await legacy.connect()
    lines: list[str] = []
    await connection.execute("CREATE PUBLICATION everything FOR ALL TABLES")
    await migrations.up(legacy.settings, lines.append)
    assert [line for line in lines if "everything" in line]  # its subscribers have to be migrated, too
    assert await migrations.verify(connection) == []
    await connection.execute(
        """UPDATE embedding_tasks SET status = 'pending', priority = 'low' WHERE status = 'failed';
           UPDATE embedding_worker_status SET is_running = false;
           DELETE FROM embedding_tasks WHERE status = 'completed';
           DELETE FROM articles WHERE id < 9;
           SELECT embedq_fold_counts()"""
    )
    await assert_counts_are_exact(legacy)
    await migrations.rollback(legacy.settings, 2)


async def test_what_is_left_in_a_partition_is_taken_back(empty_database: Database) -> None:
    connection = await empty_database.connect()
    await make_legacy(connection, "partitioned")
    objects = await catalog(connection)
    await migrations.up(empty_database.settings, target=5)
    oid = await connection.fetchval("SELECT 'audit_since'::regclass::oid::int")
    await connection.execute(f"CREATE INDEX embedq_audit_time_idx_{oid} ON audit_since (timestamp, id)")
    await migrations.rollback(empty_database.settings, 2)
    left = {line for line in await catalog(connection) if "embedq_migrations" not in line}
    assert left - {"extension pgcrypto"} == objects - {"extension pgcrypto"}


async def test_a_partition_that_is_made_later_has_the_indexes_too(empty_database: Database) -> None:
    connection = await empty_database.connect()
    await make_legacy(connection, "partitioned")
    await migrations.up(empty_database.settings)
    await connection.execute(
        """CREATE TABLE audit_later PARTITION OF embedding_audit_logs
           FOR VALUES FROM ('2090-01-01') TO ('2091-01-01')"""
    )
    indexes = """SELECT count(*) FROM pg_index WHERE indisvalid AND indrelid = to_regclass($1)"""
    assert await connection.fetchval(indexes, "audit_later") == await connection.fetchval(
        indexes, "history.audit_before"
    )
    assert await migrations.verify(connection) == []


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE embedding_tasks ALTER priority TYPE varchar(30), ALTER status TYPE text",
        "ALTER TABLE embedding_tasks ALTER error_message TYPE varchar(9000), ALTER slug TYPE text",
        "ALTER TABLE embedding_worker_status ALTER tasks_processed TYPE bigint",
        "ALTER TABLE articles ALTER slug TYPE text, ALTER title TYPE text, ALTER folder TYPE varchar(900)",
        "ALTER TABLE embeddings ALTER chunk_id TYPE text, ADD COLUMN score real DEFAULT 1",
        "ALTER TABLE embedding_audit_logs ALTER operation_id TYPE text, ALTER category TYPE varchar(90)",
        "ALTER TABLE performance_metrics ALTER metric_type TYPE text",
    ],
)
async def test_the_other_program_can_alter_its_tables_later(legacy: Database, change: str) -> None:
    connection = await legacy.connect()
    await migrations.up(legacy.settings)
    await connection.execute(change)
    await connection.execute(
        """UPDATE embedding_worker_status SET is_running = false;
           UPDATE embedding_tasks SET priority = 'low' WHERE status = 'failed'"""
    )
    assert await migrations.verify(connection) == []
    assert await connection.fetchval("SELECT stopped_at IS NOT NULL FROM embedq_control")
    await assert_counts_are_exact(legacy)


@pytest.fixture
async def two_schemas(empty_database: Database) -> Database:
    """The tables of another program are in the last schema of the path; pgvector, if any, in none."""
    connection = await empty_database.connect()
    name = await connection.fetchval("SELECT quote_ident(current_database())")
    await connection.execute(
        """CREATE SCHEMA ours; CREATE SCHEMA types; CREATE SCHEMA "Its own";
           SET search_path = "Its own", types"""
    )
    await make_legacy(connection)
    if await connection.fetchval("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'"):
        await connection.execute(
            f"""CREATE EXTENSION vector SCHEMA types;
                ALTER TABLE embeddings DROP COLUMN vector_data,
                    ADD COLUMN vector types.vector({DIMENSIONS})"""
        )
    await connection.execute(f'ALTER DATABASE {name} SET search_path = ours, "Its own"')
    return empty_database


async def test_tables_in_a_later_schema_of_the_search_path_are_not_hidden_by_empty_ones(
    two_schemas: Database,
) -> None:
    await migrations.up(two_schemas.settings)
    connection = await two_schemas.connect()
    assert await migrations.verify(connection) == []
    assert await connection.fetchval("SELECT to_regclass('ours.embedding_tasks') IS NULL")
    assert await connection.fetchval("SELECT sum(n) FROM embedq_live_counts") == 200
    await connection.execute(
        "SET search_path = \"Its own\"; DELETE FROM embedding_tasks WHERE status = 'failed'"
    )
    await assert_counts_are_exact(two_schemas)
    name = await connection.fetchval("SELECT quote_ident(current_database())")
    await connection.execute(
        f'CREATE SCHEMA later; ALTER DATABASE {name} SET search_path = later, ours, "Its own"'
    )
    assert await migrations.up(two_schemas.settings) == []  # what was applied is found there, too
    await migrations.rollback(two_schemas.settings, 2)


async def test_the_role_of_a_worker_reaches_every_schema_it_needs(
    server: Server, two_schemas: Database, stub: ProviderStub
) -> None:
    await migrations.up(two_schemas.settings)
    await migrations.grant_roles(two_schemas.settings)
    connection, role = await two_schemas.connect(), f"worker_{server.token}"
    await connection.execute(f"CREATE ROLE {role} LOGIN; GRANT embedq_worker TO {role}")
    try:
        guest = replace(two_schemas, settings=two_schemas.as_role(role))
        async with bench(guest, stub) as worker:
            assert (await worker.work(20))["stored"]
    finally:
        await connection.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


async def test_by_the_owner_of_the_tables_who_is_no_superuser(server: Server, legacy: Database) -> None:
    connection = await legacy.connect()
    role, writer = f"owner_{server.token}", f"writer_{server.token}"
    name = await connection.fetchval("SELECT quote_ident(current_database())")
    await connection.execute(f"CREATE ROLE {role} LOGIN; CREATE ROLE {writer} LOGIN")
    try:
        await connection.execute(
            f"GRANT CREATE ON DATABASE {name} TO {role}; GRANT ALL ON SCHEMA public TO {role}"
        )
        with pytest.raises(EmbedqError):  # it owns none of the tables yet
            await migrations.up(legacy.as_role(role))
        for table in PUBLIC_COLUMNS:
            await connection.execute(f"ALTER TABLE {table} OWNER TO {role}")
        if server.version == 12:
            with pytest.raises(SchemaError) as raised:
                await migrations.up(legacy.as_role(role))
            assert "pgcrypto" in raised.value.message
            await connection.execute("CREATE EXTENSION pgcrypto")
        await connection.execute(
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {role} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC"
        )
        await migrations.up(legacy.as_role(role))
        assert await migrations.verify(connection) == []

        # The article program's role, which knows nothing of our tables, goes on.
        await connection.execute(
            f"""GRANT SELECT, INSERT, UPDATE, DELETE
                ON articles, embedding_tasks, embedding_worker_status TO {writer}; SET ROLE {writer}"""
        )
        await connection.execute(
            """INSERT INTO embedding_tasks (id, article_id, slug, operation) VALUES
                   (md5('new')::uuid, 1, 'article-1', 'create');
               UPDATE embedding_tasks SET status = 'failed', error_message = 'x' WHERE id = md5('new')::uuid;
               UPDATE embedding_worker_status SET is_running = false;
               DELETE FROM embedding_tasks WHERE status = 'completed';
               DELETE FROM articles WHERE id = 3;
               RESET ROLE"""
        )
        await assert_counts_are_exact(legacy)
    finally:
        await connection.execute(
            f"RESET ROLE; DROP OWNED BY {role}, {writer} CASCADE; DROP ROLE {role}, {writer}"
        )


async def test_by_a_role_that_may_create_no_extension(server: Server, empty_database: Database) -> None:
    connection = await empty_database.connect()
    role, lines = f"guest_{server.token}", list[str]()
    await connection.execute(f"CREATE ROLE {role} LOGIN")
    try:
        await connection.execute(f"GRANT ALL ON SCHEMA public TO {role}")
        if server.version == 12:
            with pytest.raises(SchemaError) as raised:
                await migrations.up(empty_database.as_role(role))
            assert "CREATE EXTENSION pgcrypto" in raised.value.advice
            await connection.execute("CREATE EXTENSION pgcrypto")
        await migrations.up(empty_database.as_role(role), lines.append)
        assert await migrations.verify(connection) == []
        assert any("CREATE EXTENSION vector" in line for line in lines) == server.has_pgvector
    finally:
        await connection.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")
