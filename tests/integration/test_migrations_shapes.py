"""Tables of other programs that migrations refuse, and those of other types that they accept."""

from __future__ import annotations

import pytest

from embedq_worker.errors import SchemaError
from embedq_worker.schema import migrations
from tests.support.catalog import catalog
from tests.support.databases import Database
from tests.support.legacy import assert_counts_are_exact

pytestmark = pytest.mark.matrix


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
