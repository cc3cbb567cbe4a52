"""Embeddings that a locked, sick or slow database does not store at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from embedq_worker.errors import SchemaError
from embedq_worker.service.pipeline import BatchReport
from tests.support.blocking import until_any_blocked
from tests.support.content import add_articles, queue_tasks, queued_articles, until_tasks
from tests.support.databases import Connection, Database
from tests.support.piping import bench
from tests.support.provider_stub import ProviderStub
from tests.support.waiting import until

SLOW = """CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN PERFORM pg_sleep({}); RETURN NEW; END $$;
          CREATE TRIGGER slow BEFORE INSERT ON embeddings FOR EACH ROW EXECUTE FUNCTION slow()"""

GATE = """CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NEW; END $$;
          CREATE TRIGGER gate BEFORE INSERT ON embeddings FOR EACH ROW EXECUTE FUNCTION gate()"""

BROKEN = """CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO nowhere VALUES (NEW.id); RETURN NEW; END $$;
            CREATE TRIGGER tell BEFORE INSERT ON embeddings FOR EACH ROW EXECUTE FUNCTION tell()"""


@asynccontextmanager
async def storing(
    database: Database, connection: Connection, stub: ProviderStub, tasks: int
) -> AsyncIterator[tuple[Connection, asyncio.Task[BatchReport]]]:
    """While a batch is in the middle of storing its chunks: an author's session, and the batch."""
    await connection.execute(GATE)
    author = await database.connect()
    await author.execute("SET lock_timeout = '1s'")
    async with bench(database, stub, patience_s=300) as worker, asyncio.timeout(30):
        claimed = await worker.pipeline.claim(tasks)
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(7)")
            run = asyncio.create_task(worker.pipeline.run(claimed))
            await until_any_blocked(connection)
            yield author, run
        await run


async def attempts(connection: Connection) -> list[int]:
    """Charged attempts of all tasks."""
    return [row[0] or 0 for row in await connection.fetch("SELECT attempts FROM embedding_tasks")]


async def limit_statements(connection: Connection) -> None:
    """Give all sessions that begin from now on a statement_timeout."""
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET statement_timeout = '600ms'")


async def test_tasks_behind_one_that_waits_for_a_lock_are_stored(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    articles = await queued_articles(connection, 4)
    other = await database.connect()
    async with bench(database, stub, patience_s=4.0) as worker:
        await worker.work()
        await connection.execute("DELETE FROM embedding_tasks")
        await connection.execute("UPDATE articles SET content = content || ' more'")
        await queue_tasks(connection, articles)
        tasks = await worker.pipeline.claim(4)
        async with asyncio.timeout(30), other.transaction():
            await other.execute(
                "SELECT FROM embeddings WHERE article_id = $1 FOR UPDATE", tasks[0].article_id
            )
            assert (await worker.pipeline.run(tasks)).outcomes == {"stored": 3, "requeued": 1}
        assert not worker.pipeline.in_hand
        assert sorted(await attempts(connection)) == [0, 1, 1, 1]
        assert await worker.work_off() == {"stored": 1}
    await other.close()


async def test_a_save_does_not_wait_long_for_a_completion_that_waits_for_a_lock(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 3)
    program, author = await database.connect(), await database.connect()
    await author.execute("SET lock_timeout = '1s'")
    async with bench(database, stub, patience_s=60) as worker, asyncio.timeout(30):
        tasks = await worker.pipeline.claim(3)
        async with program.transaction():
            await program.execute(
                """INSERT INTO embeddings (article_id, chunk_id, chunk_index, text_content)
                   VALUES ($1, 'x', 0, 'x')""",
                tasks[0].article_id,
            )
            run = asyncio.create_task(worker.pipeline.run(tasks))
            await until_any_blocked(connection)
            await author.execute("UPDATE articles SET content = content || ' more'")
        assert (await run).outcomes == {"changed": 3}


@pytest.mark.parametrize(
    ("change", "outcome", "chunks"),
    [
        ("folder = 'x'", "stored", True),
        ("content = content || ' more'", "changed", False),
        ("no_rag = true", "skipped", False),
    ],
)
async def test_a_save_does_not_wait_while_many_chunks_are_stored(
    database: Database,
    connection: Connection,
    stub: ProviderStub,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    outcome: str,
    chunks: bool,
) -> None:
    monkeypatch.setattr("embedq_worker.service.storing._LOCK_S", 30.0)
    await queue_tasks(connection, await add_articles(connection, ["word " * 60_000]))
    async with storing(database, connection, stub, 1) as (author, run):
        await author.execute(f"UPDATE articles SET {change}")
    assert run.result().outcomes == {outcome: 1}
    assert (await connection.fetchval("SELECT count(*) FROM embeddings") > 100) == chunks


async def test_who_deletes_an_article_waits_for_a_part_of_its_batch_alone(
    database: Database, connection: Connection, stub: ProviderStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedq_worker.service.storing._LOCK_S", 30.0)
    articles = await add_articles(connection, ["word " * 30_000] * 3)  # each of some 60 chunks
    await queue_tasks(connection, articles)
    async with storing(database, connection, stub, 3) as (author, run):
        await author.execute("DELETE FROM articles WHERE id = $1", articles[2])
    assert run.result().outcomes == {"stored": 2, "lost": 1}


@pytest.mark.parametrize("table", ["embeddings", "articles", "embedq_articles"])
async def test_a_batch_is_given_back_while_a_table_is_locked_for_long(
    database: Database, connection: Connection, stub: ProviderStub, table: str
) -> None:
    await queued_articles(connection, 4)
    async with bench(database, stub, patience_s=2.0) as worker:
        tasks = await worker.pipeline.claim(4)
        async with asyncio.timeout(30), connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
            report = await worker.pipeline.run(tasks)
        assert report.outcomes == {"requeued": 4}
        assert not worker.pipeline.in_hand
        assert await attempts(connection) == [0, 0, 0, 0]
        assert await worker.work_off() == {"stored": 4}


async def test_a_task_whose_article_stays_locked_is_left_for_a_while(
    database: Database, connection: Connection, stub: ProviderStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedq_worker.service.storing.CONTENTION_TRIES", 2)
    articles = await queued_articles(connection, 2)
    async with bench(database, stub, patience_s=300) as worker, asyncio.timeout(20):
        async with connection.transaction():
            await connection.execute("SELECT FROM articles WHERE id = $1 FOR UPDATE", articles[0])
            assert await worker.work() == {"stored": 1, "requeued": 1}
        assert sorted(await attempts(connection)) == [0, 1]
        later = "SELECT scheduled_at > now() + interval '10 s' FROM embedding_tasks WHERE article_id = $1"
        assert await connection.fetchval(later, articles[0])


async def test_a_task_whose_article_is_locked_for_a_moment_is_stored_soon_and_not_embedded_again(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    articles = await queued_articles(connection, 2)
    async with bench(database, stub, patience_s=300) as worker, asyncio.timeout(20):
        claimed = await worker.pipeline.claim(2)
        async with connection.transaction():
            await connection.execute("SELECT FROM articles WHERE id = $1 FOR UPDATE", articles[0])
            run = asyncio.create_task(worker.pipeline.run(claimed))
            await until_tasks(connection, completed=1, processing=1)
        assert (await run).outcomes == {"stored": 2}
    assert stub.seen.inputs == 2


async def test_what_takes_longer_than_the_patience_without_waiting_for_a_lock_is_stored(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await connection.execute(SLOW.format(0.5))
    await queued_articles(connection, 2)
    async with bench(database, stub, patience_s=0.2) as worker, asyncio.timeout(30):
        assert await worker.work() == {"stored": 2}
    assert stub.seen.inputs == 2


async def test_a_batch_that_the_database_does_not_store_in_time_is_stored_task_by_task(
    database: Database, connection: Connection, stub: ProviderStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedq_worker.queue.claims.COMMAND_TIMEOUT_S", 0.3)
    monkeypatch.setattr("embedq_worker.queue.claims._CHUNK_WITHIN_S", 0.01)
    monkeypatch.setattr("embedq_worker.service.storing.TOGETHER_S", 0.5)
    await connection.execute(SLOW.format(0.1))
    await queued_articles(connection, 8)
    async with bench(database, stub) as worker:
        async with asyncio.timeout(20):
            assert await worker.work(8) == {"stored": 8}
    assert stub.seen.inputs == 8


@pytest.mark.parametrize(
    "hold_up", ["LOCK TABLE embeddings IN SHARE MODE", "SELECT FROM embeddings FOR UPDATE"]
)
async def test_a_statement_timeout_charges_nobody_while_another_session_holds_a_lock(
    database: Database, connection: Connection, stub: ProviderStub, hold_up: str
) -> None:
    articles = await queued_articles(connection, 1)
    await limit_statements(connection)
    async with bench(database, stub, patience_s=3.0) as worker:
        await worker.work()
        await connection.execute("UPDATE articles SET content = content || ' more'")
        await connection.execute("DELETE FROM embedding_tasks")
        await queue_tasks(connection, articles)
        tasks = await worker.pipeline.claim(1)
        async with asyncio.timeout(30), connection.transaction():
            await connection.execute(hold_up)
            assert (await worker.pipeline.run(tasks)).outcomes == {"requeued": 1}
        assert not worker.pipeline.in_hand
        assert await attempts(connection) == [0]
        assert await worker.work_off() == {"stored": 1}


async def test_a_text_that_no_statement_timeout_lets_through_is_not_charged_either(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await connection.execute(SLOW.format(1))
    await queued_articles(connection, 1)
    await limit_statements(connection)
    async with bench(database, stub, patience_s=3.0) as worker, asyncio.timeout(30):
        assert await worker.work() == {"requeued": 1}
        assert await attempts(connection) == [0]
        left_alone = "SELECT scheduled_at > now() + interval '30 s' FROM embedding_tasks"
        assert await connection.fetchval(left_alone)
        await connection.execute("DROP TRIGGER slow ON embeddings")
        assert await worker.work_off() == {"stored": 1}


async def test_a_text_that_a_broken_trigger_refuses_is_soon_left_alone_and_still_told_of(
    database: Database, connection: Connection, stub: ProviderStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedq_worker.service.storing.ALONE_S", 1.0)
    monkeypatch.setattr("embedq_worker.service.refusals.LASTING_S", 0.1)
    await connection.execute(BROKEN)
    await queued_articles(connection, 1)
    async with bench(database, stub) as worker:
        async with asyncio.timeout(20):  # far less than it has patience with a database that does not work
            assert await worker.work() == {"requeued": 1}
        left_alone = "SELECT scheduled_at BETWEEN now() AND now() + interval '1 s' FROM embedding_tasks"
        assert await connection.fetchval(left_alone)
        assert "nowhere" in worker.pipeline.refusals.lasting
        await until(lambda: not worker.pipeline.refusals.lasting)
        assert await attempts(connection) == [0]


async def test_what_was_refused_and_is_stored_after_all_is_told_of_no_longer(
    database: Database, connection: Connection, stub: ProviderStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedq_worker.service.refusals.LASTING_S", 0.0)
    await connection.execute(BROKEN)
    await queued_articles(connection, 1)
    async with bench(database, stub) as worker, asyncio.timeout(20):
        work = asyncio.create_task(worker.work())
        await until(lambda: "nowhere" in worker.pipeline.refusals.lasting)
        await connection.execute("DROP TRIGGER tell ON embeddings")
        assert await work == {"stored": 1}
        assert not worker.pipeline.refusals.lasting


async def test_a_sick_database_is_tried_as_long_as_the_patience_lasts_not_as_often_as_a_locked_article(
    database: Database, connection: Connection, stub: ProviderStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedq_worker.service.storing.CONTENTION_TRIES", 1)
    monkeypatch.setattr("embedq_worker.service.storing.ALONE_S", 0.1)
    monkeypatch.setattr("embedq_worker.service.storing.TOGETHER_S", 0.1)
    await connection.execute(
        """CREATE TABLE sick AS SELECT clock_timestamp() + interval '1.5 s' AS until;
           CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN IF clock_timestamp() < (SELECT until FROM sick) THEN RAISE disk_full; END IF;
              RETURN NEW; END $$;
           CREATE TRIGGER fail BEFORE INSERT ON embeddings FOR EACH ROW EXECUTE FUNCTION fail()"""
    )
    await queued_articles(connection, 1)
    async with bench(database, stub, patience_s=30.0) as worker:
        assert await worker.work() == {"stored": 1}
    assert stub.seen.inputs == 1


async def test_a_constraint_on_another_table_charges_nobody(
    database: Database, connection: Connection, stub: ProviderStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedq_worker.service.storing.ALONE_S", 0.1)
    monkeypatch.setattr("embedq_worker.service.refusals.LASTING_S", 0.0)
    await connection.execute(
        "ALTER TABLE embedding_audit_logs ADD CONSTRAINT terse CHECK (message <> 'Task completed')"
    )
    await queued_articles(connection, 2)
    async with bench(database, stub, patience_s=0.1) as worker, asyncio.timeout(30):
        assert await worker.work() == {"requeued": 2}
        assert "terse" in worker.pipeline.refusals.lasting
        assert await attempts(connection) == [0, 0]
        await connection.execute("ALTER TABLE embedding_audit_logs DROP CONSTRAINT terse")
        assert await worker.work_off() == {"stored": 2}


async def test_a_sequence_that_is_behind_its_table_charges_nobody(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    """As after a restore of rows alone, or a logical replication, which leaves out sequences."""
    await queued_articles(connection, 2)
    [other] = await add_articles(connection, ["text"], slug="other")
    await connection.execute(
        """INSERT INTO embeddings (id, article_id, chunk_id, chunk_index, text_content)
           SELECT n, $1, 'other', n, '' FROM generate_series(1, 1000) AS n""",
        other,
    )
    async with bench(database, stub, patience_s=1.0) as worker, asyncio.timeout(30):
        assert await worker.work() == {"requeued": 2}
        assert await attempts(connection) == [0, 0]
        await connection.execute(
            "SELECT setval(pg_get_serial_sequence('embeddings', 'id'), max(id)) FROM embeddings"
        )
        assert await worker.work_off() == {"stored": 2}


@pytest.mark.pgvector
async def test_a_column_that_was_altered_meanwhile_charges_nobody(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 2)
    async with bench(database, stub) as worker, asyncio.timeout(30):
        tasks = await worker.pipeline.claim(2)
        await connection.execute("ALTER TABLE embeddings ALTER COLUMN vector TYPE vector(3)")
        with pytest.raises(SchemaError):
            await worker.pipeline.run(tasks)
    assert await attempts(connection) == [0, 0]
