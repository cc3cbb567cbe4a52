"""What pg_dump leaves out, and what comes back into a new database."""

from __future__ import annotations

import subprocess

import pytest

from embedq_worker.errors import MIGRATE, SchemaError
from embedq_worker.schema import migrations
from embedq_worker.schema.state import require_current, status
from tests.support.content import add_articles, failed_tasks, queued_articles
from tests.support.databases import Connection, Database
from tests.support.piping import bench
from tests.support.postgres import embedded_binaries
from tests.support.provider_stub import ProviderStub


def copy(source: Database, target: Database, *options: str) -> None:
    """Restore a dump into another database; what does not fit there is skipped."""
    found = embedded_binaries()
    programs = found.root / found.bin
    dump = subprocess.run([programs / "pg_dump", *options, source.url], check=True, capture_output=True)
    subprocess.run([programs / "psql", "-qX", target.url], check=True, capture_output=True, input=dump.stdout)


async def test_a_queue_goes_on_in_a_database_restored_from_its_dump(
    database: Database, empty_database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await failed_tasks(connection, 2)
    await queued_articles(connection, 3)
    await connection.execute("SELECT embedq_article_trigger_install(3)")
    copy(database, empty_database)
    restored = await empty_database.connect()
    assert await migrations.verify(restored) == []
    assert await migrations.up(empty_database.settings) == []
    await add_articles(restored, ["saved afterwards"], slug="new")  # queued by the trigger
    async with bench(empty_database, stub) as worker:
        assert await worker.work_off() == {"stored": 4}
    assert await restored.fetch("SELECT * FROM embedq_count_drift") == []


async def test_articles_and_embeddings_alone_keep_the_models_of_their_vectors(
    database: Database, empty_database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 2)
    async with bench(database, stub) as worker:
        assert await worker.work_off() == {"stored": 2}
    restored = await empty_database.connect()
    for row in await connection.fetch("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'"):
        await restored.execute(f"CREATE EXTENSION {row['extname']}")
    copy(database, empty_database, "-t", "articles", "-t", "embeddings", "-t", "embedding_tasks")
    await migrations.up(empty_database.settings)
    models = "SELECT DISTINCT model FROM embeddings"
    assert await restored.fetch(models) == await connection.fetch(models)
    assert await migrations.verify(restored) == []
    assert await restored.fetch("SELECT * FROM embedq_count_drift") == []


@pytest.mark.parametrize("to", [2, 0])
async def test_a_schema_without_its_rows_is_told_and_both_remedies_work(
    database: Database, empty_database: Database, to: int
) -> None:
    copy(database, empty_database, "--schema-only")
    restored = await empty_database.connect()
    with pytest.raises(SchemaError) as told:
        await require_current(restored)
    assert told.value.advice == MIGRATE  # which says more, here
    for _ in range(2):  # nothing was recorded by the first
        with pytest.raises(SchemaError) as raised:
            await migrations.up(empty_database.settings)
        assert "embedq_migrations" in raised.value.advice
    every = [state.version for state in await status(restored)]
    assert await migrations.rollback(empty_database.settings, to) == every[:1:-1]  # never the queue itself
    assert await migrations.up(empty_database.settings) == every
    await restored.execute("TRUNCATE embedq_migrations")
    copy(database, empty_database, "--data-only", "-t", "embedq_migrations")
    assert await migrations.up(empty_database.settings) == []
    assert await migrations.verify(restored) == []
