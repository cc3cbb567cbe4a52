"""Databases of other programs: several variants of the public tables, with data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from embedq_worker.schema.public import PUBLIC_COLUMNS
from tests.support.databases import Connection, Database

_SCHEMA = Path(__file__).with_name("legacy_schema.sql")

VARIANTS: Mapping[str, str] = {
    "plain": "SELECT",
    "pgvector": """
        CREATE EXTENSION vector;
        ALTER TABLE embeddings ADD COLUMN vector vector(768);
        UPDATE embeddings SET vector = (
            SELECT array_agg(sin(id * 31 + d)) FROM generate_series(1, 768) AS d)::vector;
        ALTER TABLE embeddings DROP COLUMN vector_data;
        CREATE INDEX embeddings_vector_idx ON embeddings
            USING ivfflat (vector vector_cosine_ops) WITH (lists = 4);
    """,
    "uuid-ossp": """
        CREATE EXTENSION "uuid-ossp";
        ALTER TABLE embedding_tasks ALTER id SET DEFAULT uuid_generate_v4();
        ALTER TABLE embedding_audit_logs ALTER id SET DEFAULT uuid_generate_v4();
        ALTER TABLE performance_metrics ALTER id SET DEFAULT uuid_generate_v4();
    """,
    "strict": """
        DO $$ BEGIN
            IF to_regprocedure('gen_random_uuid()') IS NULL THEN CREATE EXTENSION pgcrypto; END IF;
        END $$;
        ALTER TABLE embedding_tasks ALTER id SET DEFAULT gen_random_uuid(), ALTER slug SET NOT NULL,
            ALTER article_id SET NOT NULL, ALTER attempts SET NOT NULL, ALTER max_attempts SET NOT NULL,
            ALTER created_at SET NOT NULL, ALTER scheduled_at SET NOT NULL, ALTER metadata SET DEFAULT '{}';
        ALTER TABLE embedding_worker_status ALTER is_running SET NOT NULL;
    """,
    "extended": """
        ALTER TABLE articles ADD COLUMN search_text text GENERATED ALWAYS AS (title || ' ' || content) STORED,
            ADD COLUMN owner_id int;
        ALTER TABLE embeddings ADD COLUMN updated_at timestamptz DEFAULT now();
        ALTER TABLE embedding_tasks ADD COLUMN retry_after timestamptz, ADD COLUMN tags text[];
        CREATE TABLE article_notes (id serial PRIMARY KEY, article_id int REFERENCES articles);
        CREATE VIEW open_tasks AS SELECT * FROM embedding_tasks WHERE status IN ('pending', 'processing');
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN NEW.updated_at := now(); RETURN NEW; END';
        CREATE TRIGGER touch BEFORE UPDATE ON articles FOR EACH ROW EXECUTE FUNCTION touch();
        CREATE INDEX tasks_by_slug ON embedding_tasks (slug);
        DELETE FROM embedding_worker_status;
    """,
    "partitioned": """
        ALTER TABLE embedding_audit_logs RENAME TO whole;
        CREATE TABLE embedding_audit_logs (LIKE whole INCLUDING DEFAULTS INCLUDING CONSTRAINTS,
            PRIMARY KEY (id, timestamp)) PARTITION BY RANGE (timestamp);
        CREATE SCHEMA history;
        CREATE TABLE history.audit_before PARTITION OF embedding_audit_logs
            FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
        CREATE TABLE audit_since PARTITION OF embedding_audit_logs DEFAULT;
        INSERT INTO embedding_audit_logs SELECT * FROM whole;
        DROP TABLE whole;
    """,
}
"""By variant, what differs from `legacy_schema.sql`."""


def every_variant() -> list[object]:
    """Parameters for tests: the variants, those that need an extension marked."""
    marks = {"pgvector": pytest.mark.pgvector}
    return [pytest.param(name, marks=marks.get(name, ())) for name in VARIANTS]


async def make_legacy(connection: Connection, variant: str = "plain") -> None:
    """Create the tables and their rows.

    Args:
        connection: To an empty database.
        variant: One of `VARIANTS`.
    """
    await connection.execute(_SCHEMA.read_text("utf-8"))
    if variant == "uuid-ossp" and not await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'uuid-ossp')"
    ):
        pytest.skip("no uuid-ossp on this server")
    await connection.execute(VARIANTS[variant])


async def public_rows(connection: Connection) -> dict[str, list[str]]:
    """Every row of the public tables as text, in the columns that the tables had at first."""
    found = {}
    for table, columns in PUBLIC_COLUMNS.items():
        existing = await connection.fetch(
            """SELECT quote_ident(attname) AS name FROM pg_attribute
               WHERE attrelid = to_regclass($1) AND attname = ANY ($2::text[] || '{vector,vector_data}')
                 AND NOT attisdropped ORDER BY attnum""",
            table,
            columns,
        )
        names = ", ".join(row["name"] for row in existing)
        rows = await connection.fetch(f"SELECT ROW({names})::text AS line FROM {table} ORDER BY id")
        found[table] = [row["line"] for row in rows]
    return found


async def assert_counts_are_exact(database: Database) -> None:
    """Whether the maintained counts match the table."""
    connection = await database.connect()
    assert await connection.fetch("SELECT * FROM embedq_repair_counts()") == []
