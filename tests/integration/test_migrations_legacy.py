"""Migrations on databases that another program made and goes on using."""

from __future__ import annotations

from dataclasses import replace

import pytest

from embedq_worker.backoff import Backoff
from embedq_worker.errors import EmbedqError, SchemaError
from embedq_worker.schema import migrations
from embedq_worker.schema.public import PUBLIC_COLUMNS
from embedq_worker.schema.session import Patience
from tests.support.catalog import catalog
from tests.support.databases import DIMENSIONS, Database, Server
from tests.support.legacy import assert_counts_are_exact, every_variant, make_legacy, public_rows
from tests.support.piping import bench
from tests.support.provider_stub import ProviderStub

pytestmark = pytest.mark.matrix

QUICK = Patience(lock_s=0.2, total_s=60, between=Backoff(0.05, 0.2))
HASTY = Patience(lock_s=0.1, total_s=0.5, between=Backoff(0.05, 0.1))


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


async def test_a_public_column_that_is_missing_is_named(legacy: Database) -> None:
    connection = await legacy.connect()
    await connection.execute("ALTER TABLE embedding_tasks DROP COLUMN scheduled_at, DROP COLUMN metadata")
    with pytest.raises(SchemaError) as raised:
        await migrations.up(legacy.settings)
    assert "scheduled_at" in raised.value.message
    assert "metadata" in raised.value.message
    await connection.execute(
        """ALTER TABLE embedding_tasks ADD COLUMN scheduled_at timestamptz DEFAULT now(),
               ADD COLUMN metadata jsonb"""
    )
    await migrations.up(legacy.settings)
    assert await migrations.verify(connection) == []


async def test_a_public_key_that_is_missing_is_named_with_its_remedy(legacy: Database) -> None:
    connection = await legacy.connect()
    await connection.execute(
        """ALTER TABLE embeddings DROP CONSTRAINT embeddings_article_id_chunk_index_key;
           CREATE UNIQUE INDEX ON embeddings (article_id, chunk_index) WHERE chunk_index > 0"""
    )
    with pytest.raises(SchemaError) as raised:
        await migrations.up(legacy.settings)
    await connection.execute(raised.value.advice)
    await migrations.up(legacy.settings)
    assert await migrations.verify(connection) == []


@pytest.mark.parametrize(
    ("shape", "named"),
    [
        (
            """CREATE TYPE state AS ENUM ('pending', 'processing', 'completed', 'failed');
               ALTER TABLE embedding_tasks DROP CONSTRAINT embedding_tasks_status_check;
               ALTER TABLE embedding_tasks ALTER status DROP DEFAULT;
               ALTER TABLE embedding_tasks ALTER status TYPE state USING status::state""",
            "embedding_tasks.status",
        ),
        ("ALTER TABLE embedding_tasks ALTER id TYPE varchar(36)", "embedding_tasks.id"),
        ("ALTER TABLE embedding_tasks ALTER scheduled_at TYPE timestamp", "embedding_tasks.scheduled_at"),
        ("ALTER TABLE embedding_tasks ALTER metadata TYPE json", "embedding_tasks.metadata"),
        ("ALTER TABLE articles ALTER id TYPE bigint", "articles.id"),
        ("ALTER TABLE embeddings ALTER vector_data TYPE text", "embeddings.vector_data"),
        ("ALTER TABLE embeddings ADD COLUMN model varchar(20)", "model"),
        (
            """CREATE TABLE parts (LIKE embedding_tasks INCLUDING ALL) PARTITION BY HASH (id);
               DROP TABLE embedding_tasks; ALTER TABLE parts RENAME TO embedding_tasks""",
            "embedding_tasks",
        ),
        (
            "ALTER TABLE articles RENAME TO texts; CREATE VIEW articles AS SELECT * FROM texts",
            "articles",
        ),
        (
            """DELETE FROM embedding_tasks;
               CREATE UNIQUE INDEX one_pending ON embedding_tasks (article_id) WHERE status = 'pending'""",
            "one_pending",
        ),
        (
            """DELETE FROM embedding_tasks;
               ALTER TABLE embedding_tasks ADD CONSTRAINT one_each UNIQUE (slug, status)""",
            "one_each",
        ),
        (
            """DELETE FROM embedding_tasks; ALTER TABLE embedding_tasks ADD CONSTRAINT one_waits
               EXCLUDE USING btree (article_id WITH =) WHERE (status = 'pending')""",
            "one_waits",
        ),
        (  # as an ORM makes it that fills the column itself
            """DELETE FROM embedding_tasks;
               ALTER TABLE embedding_tasks ADD COLUMN changed_at timestamp(3) NOT NULL""",
            "embedding_tasks.changed_at",
        ),
        (
            """DELETE FROM embedding_tasks;
               ALTER TABLE embedding_tasks ALTER metadata SET DEFAULT '{}', ALTER metadata SET NOT NULL""",
            "embedding_tasks.metadata",
        ),
        # What some ORMs make of a string, or of a key that a sequence of its own fills.
        (
            "ALTER TABLE embedding_tasks ALTER error_message TYPE varchar(255)",
            "embedding_tasks.error_message",
        ),
        ("ALTER TABLE embeddings ALTER content_hash TYPE varchar(32)", "embeddings.content_hash"),
        ("ALTER TABLE embeddings ALTER id DROP DEFAULT", "embeddings.id"),
        (
            """DELETE FROM embedding_audit_logs;
               ALTER TABLE embedding_audit_logs ALTER duration SET DEFAULT 0, ALTER duration SET NOT NULL""",
            "embedding_audit_logs.duration",
        ),
        (
            "DELETE FROM performance_metrics; ALTER TABLE performance_metrics ALTER article_id SET NOT NULL",
            "performance_metrics.article_id",
        ),
        (
            "ALTER TABLE embedding_worker_status ALTER started_at SET NOT NULL",
            "embedding_worker_status.started_at",
        ),
        (
            """ALTER TABLE embeddings DROP COLUMN content_hash,
                   ADD COLUMN content_hash varchar(64) GENERATED ALWAYS AS (md5(text_content)) STORED""",
            "embeddings.content_hash",
        ),
        (
            "ALTER TABLE embedding_worker_status DROP CONSTRAINT embedding_worker_status_pkey",
            "embedding_worker_status",
        ),
        ("ALTER TABLE embedding_tasks DROP CONSTRAINT embedding_tasks_pkey", "embedding_tasks"),
        ("CREATE TABLE old_tasks () INHERITS (embedding_tasks)", "old_tasks"),
        ("CREATE TABLE posts (LIKE articles); ALTER TABLE articles INHERIT posts", "posts"),
        (
            """CREATE TABLE seen (id uuid);
               CREATE RULE record AS ON UPDATE TO embedding_tasks DO ALSO INSERT INTO seen VALUES (NEW.id)""",
            "record",
        ),
        (
            """DELETE FROM embedding_audit_logs;
               ALTER TABLE embedding_audit_logs ADD CONSTRAINT logged FOREIGN KEY (task_id)
                   REFERENCES embedding_tasks DEFERRABLE INITIALLY DEFERRED""",
            "logged",
        ),
        (
            """DELETE FROM performance_metrics;
               ALTER TABLE performance_metrics ADD CONSTRAINT measured FOREIGN KEY (article_id)
                   REFERENCES articles ON DELETE RESTRICT""",
            "measured",
        ),
        (  # a task may outlive its article, but what is logged of it may not
            """ALTER TABLE embedding_tasks DROP CONSTRAINT embedding_tasks_article_id_fkey;
               ALTER TABLE embedding_audit_logs ADD CONSTRAINT logged FOREIGN KEY (article_id)
                   REFERENCES articles ON DELETE SET NULL""",
            "logged",
        ),
    ],
)
async def test_what_cannot_be_worked_with_is_named_before_anything_is_added(
    legacy: Database, shape: str, named: str
) -> None:
    connection = await legacy.connect()
    await connection.execute(shape)
    objects = await catalog(connection)
    with pytest.raises(SchemaError) as raised:
        await migrations.up(legacy.settings)
    assert named in raised.value.message
    assert raised.value.advice
    assert {line for line in await catalog(connection) if "embedq_migrations" not in line} == objects


@pytest.mark.parametrize("named", ['"Article"', "blog_articles"])
async def test_articles_under_another_name_are_not_passed_over_in_silence(
    legacy: Database, named: str
) -> None:
    connection = await legacy.connect()
    await connection.execute(
        f"""DROP TABLE embedding_tasks, embedding_worker_status, embedding_audit_logs, performance_metrics;
            ALTER TABLE articles RENAME TO {named}"""
    )
    lines: list[str] = []
    await migrations.up(legacy.settings, lines.append)
    assert [line for line in lines if named in line]
    lines.clear()
    await migrations.rollback(legacy.settings, 0)
    await connection.execute(f"ALTER TABLE {named} RENAME TO articles")
    await migrations.up(legacy.settings, lines.append)
    assert not [line for line in lines if named in line]
    assert await connection.fetchval("SELECT count(*) FROM articles") == 50


async def test_articles_that_cannot_be_worked_with_get_no_tables_beside_them(
    empty_database: Database,
) -> None:
    connection = await empty_database.connect()
    await connection.execute(
        """CREATE TABLE articles (id bigserial PRIMARY KEY, title text, slug text UNIQUE, content text,
               folder text, is_public bool, no_rag bool, created_at timestamptz, updated_at timestamptz,
               created_by text, updated_by text)"""
    )
    objects = await catalog(connection)
    with pytest.raises(SchemaError, match=r"articles\.id"):
        await migrations.up(empty_database.settings)
    assert {line for line in await catalog(connection) if "embedq_migrations" not in line} == objects
    await connection.execute("ALTER TABLE articles ALTER id TYPE int")
    await migrations.up(empty_database.settings)
    assert await migrations.verify(connection) == []


@pytest.mark.parametrize(
    "shape",
    [
        """CREATE DOMAIN state AS text CHECK (VALUE IN ('pending', 'processing', 'completed', 'failed'));
           ALTER TABLE embedding_tasks ALTER status TYPE state, ALTER priority TYPE text""",
        "ALTER TABLE embedding_tasks ALTER status TYPE char(10), ALTER attempts TYPE smallint",
        "ALTER TABLE performance_metrics ALTER value TYPE float8, ALTER article_id TYPE bigint",
        """CREATE DOMAIN words AS text;
           ALTER TABLE articles ALTER slug TYPE words, ALTER title TYPE words, ALTER content TYPE varchar""",
        """DELETE FROM embedding_tasks;
           CREATE UNIQUE INDEX ON embedding_tasks (article_id) WHERE status IN ('pending', 'processing');
           CREATE UNIQUE INDEX ON embedding_tasks (status, id)""",
        """ALTER TABLE articles ADD COLUMN author int; UPDATE articles SET author = 1;
           ALTER TABLE articles ALTER author SET NOT NULL;
           CREATE DOMAIN count AS int DEFAULT 0; ALTER TABLE embeddings ADD COLUMN seen count NOT NULL,
               ADD COLUMN words int NOT NULL GENERATED ALWAYS AS (length(text_content)) STORED;
           ALTER TABLE embedding_tasks ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY""",
        """ALTER TABLE embedding_tasks ADD COLUMN tenant int; UPDATE embedding_tasks SET tenant = 1;
           ALTER TABLE embedding_tasks ALTER tenant SET NOT NULL;
           CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql
           AS $$ BEGIN NEW.tenant := 1; RETURN NEW; END $$;
           CREATE TRIGGER fill BEFORE INSERT ON embedding_tasks FOR EACH ROW EXECUTE FUNCTION fill()""",
        """ALTER TABLE embedding_audit_logs
               ADD FOREIGN KEY (task_id) REFERENCES embedding_tasks ON DELETE CASCADE NOT VALID,
               ADD FOREIGN KEY (article_id) REFERENCES articles ON DELETE SET NULL""",
        """ALTER TABLE embeddings ALTER id DROP DEFAULT, ALTER id ADD GENERATED ALWAYS AS IDENTITY;
           ALTER TABLE articles ADD COLUMN words int GENERATED ALWAYS AS (length(content)) STORED""",
        "ALTER TABLE embedding_tasks ALTER error_message TYPE varchar(2000)",
        """CREATE RULE kept AS ON DELETE TO embedding_audit_logs DO INSTEAD NOTHING;
           CREATE RULE hidden AS ON DELETE TO articles
               DO INSTEAD UPDATE articles SET no_rag = true WHERE id = OLD.id""",
    ],
)
async def test_other_types_that_hold_the_same_do(legacy: Database, shape: str) -> None:
    connection = await legacy.connect()
    await connection.execute(shape)
    await migrations.up(legacy.settings)
    assert await migrations.verify(connection) == []
    await assert_counts_are_exact(legacy)


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
