"""Whose fault it is that a task did not succeed: its text's, the provider's, the database's, or ours."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from embedq_worker.backoff import Backoff
from embedq_worker.content.chunking import Chunk, split_markdown
from embedq_worker.queue import breaker
from tests.support.content import (
    add_articles,
    charged,
    queue_tasks,
    queued_articles,
    statuses,
    wrong_articles,
)
from tests.support.databases import Connection, Database
from tests.support.piping import bench
from tests.support.provider_stub import ProviderStub


async def test_a_text_that_breaks_the_provider_does_not_hold_up_the_others(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    articles = await queued_articles(connection, 10)
    await connection.execute("UPDATE articles SET content = 'CRASH' WHERE id = $1", articles[0])
    stub.faults.crash = "CRASH"
    async with bench(database, stub) as it:
        outcomes = await it.work_off()
        assert await breaker.look(it.pool, it.scope.provider) is None
    assert outcomes["stored"] == 9
    assert outcomes["failed"] == 1
    assert await charged(connection) == 9 + 3
    assert await wrong_articles(connection) == [articles[0]]
    suspected = [text for text in stub.seen.texts if "CRASH" in text]
    assert len(suspected) <= 3 + 3 * 3, "asked a few times in company, and three times an attempt"


async def test_a_text_that_looks_like_a_wrong_setting_is_not_charged_the_first_time(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    (article,) = await queued_articles(connection, 1)
    await connection.execute("UPDATE articles SET content = 'POISON'")
    stub.faults.turn({"poison": "POISON", "poison_status": 403})
    async with bench(database, stub) as it:
        assert await it.work() == {"requeued": 1}
        assert await charged(connection) == 0
        assert await it.work_off() == {"requeued": 2, "failed": 1}
    assert await wrong_articles(connection) == [article]


async def test_texts_that_break_the_provider_one_after_another_do_not_count_as_its_failures(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    stub.faults.crash = "CRASH"
    async with bench(database, stub) as it:
        for number in range(breaker.FAILURES_TO_OPEN + 1):
            await queue_tasks(connection, await add_articles(connection, ["CRASH"], slug=f"crash-{number}"))
            await connection.execute("UPDATE embedding_tasks SET max_attempts = 1")
            assert await it.work_off() == {"requeued": 1, "failed": 1}
        assert await breaker.look(it.pool, it.scope.provider) is None


async def test_an_error_is_charged_to_the_task_that_has_it_alone(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 6)
    error = ValueError("ours")
    async with bench(database, stub) as it:
        together = await it.pipeline.claim(2)
        others = await it.pipeline.claim(2)
        assert (await it.pipeline.fail(together, error)).outcomes == {"requeued": 2}
        assert (await it.pipeline.run(others)).outcomes == {"stored": 2}
        for suspect in together:  # each before those that have waited behind it
            alone = await it.pipeline.claim(2)
            assert [(task.id, task.attempts) for task in alone] == [(suspect.id, 0)]
            await it.pipeline.fail(alone, error)
    assert await charged(connection) == 4


async def test_of_a_batch_that_an_error_ends_what_is_stored_already_is_left_as_it_is(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 2)
    async with bench(database, stub) as it:
        tasks = await it.pipeline.claim(2)
        assert (await it.pipeline.run(tasks[:1])).outcomes == {"stored": 1}
        assert (await it.pipeline.fail(tasks, ValueError("ours"))).outcomes == {"requeued": 1}
    assert await statuses(connection) == {"completed": 1, "pending": 1}
    assert await charged(connection) == 1 + 1


async def test_memory_that_is_too_little_for_a_batch_is_charged_to_an_article_that_has_it_alone(
    database: Database, connection: Connection, stub: ProviderStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    articles = await queued_articles(connection, 4)
    await connection.execute("UPDATE articles SET content = 'HUGE' WHERE id = $1", articles[0])
    taken: list[str] = []

    def split(content: str, **options: Any) -> list[Chunk]:
        taken.append(content)
        if "HUGE" in taken:
            raise MemoryError
        return split_markdown(content, **options)

    monkeypatch.setattr("embedq_worker.service.planning.split_markdown", split)
    async with bench(database, stub) as it:
        assert await it.work() == {"requeued": 4}
        assert await charged(connection) == 0
        for _ in articles:
            taken.clear()
            await it.work()
    assert await statuses(connection) == {"pending": 1, "completed": 3}
    assert await charged(connection) == 4
    assert await wrong_articles(connection) == articles[:1]


async def test_an_article_that_cannot_be_split_fails_alone_and_tells_where(
    database: Database, connection: Connection, stub: ProviderStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    articles = await queued_articles(connection, 3)
    await connection.execute("UPDATE articles SET content = 'BUG' WHERE id = $1", articles[0])
    await connection.execute("UPDATE embedding_tasks SET max_attempts = 2")

    def split(content: str, **options: Any) -> list[Chunk]:
        if content == "BUG":
            raise IndexError("\0")  # which PostgreSQL does not store
        return split_markdown(content, **options)

    monkeypatch.setattr("embedq_worker.service.planning.split_markdown", split)
    async with bench(database, stub) as it:
        assert await it.work() == {"stored": 2, "requeued": 1}
        assert await it.work_off() == {"failed": 1}
    assert await charged(connection) == 2 + 2
    row = await connection.fetchrow("SELECT error_message FROM embedding_tasks WHERE status = 'failed'")
    assert row is not None
    assert "IndexError" in row["error_message"]
    traces = await connection.fetch(
        "SELECT stack_trace FROM embedding_audit_logs WHERE stack_trace IS NOT NULL AND article_id = $1",
        articles[0],
    )
    assert ["in split" in trace["stack_trace"] for trace in traces] == [True, True]


@pytest.mark.parametrize("kind", [asyncpg.InsufficientPrivilegeError, asyncpg.RaiseError])
async def test_what_the_database_refuses_is_nobodys_error(
    database: Database, connection: Connection, stub: ProviderStub, kind: type[asyncpg.PostgresError]
) -> None:
    await queued_articles(connection, 1)
    async with bench(database, stub) as it:
        tasks = await it.pipeline.claim(1)
        refused = await it.pipeline.fail(tasks, kind("no"))
        assert refused.outcomes == {"requeued": 1}
    row = await connection.fetchrow(
        "SELECT status, attempts, crash_count, scheduled_at > now() + interval '30 s' FROM embedding_tasks"
    )
    assert row is not None
    assert tuple(row) == ("pending", 0, None, True)


async def test_a_batch_that_cannot_even_be_given_back_is_held_no_longer(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 2)
    async with bench(database, stub, patience_s=0.1) as it:
        tasks = await it.pipeline.claim(2)
        await connection.execute(
            """CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
               CREATE TRIGGER no BEFORE UPDATE ON embedding_tasks FOR EACH ROW EXECUTE FUNCTION no()"""
        )
        assert (await it.pipeline.fail(tasks, ValueError("ours"))).outcomes == {"lost": 2}
        assert it.pipeline.in_hand == {}
        await connection.execute("DROP TRIGGER no ON embedding_tasks")
        assert await it.pipeline.disown() == 2
    assert await statuses(connection) == {"pending": 2}


async def test_each_attempt_waits_longer_than_the_one_before(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 1)
    await connection.execute("UPDATE embedding_tasks SET max_attempts = 9")
    async with bench(database, stub, backoff=Backoff(100.0, 1000.0)) as it:
        for longest_s in (100, 200, 400, 800, 1000, 1000):
            await it.pipeline.fail(await it.pipeline.claim(1), ValueError("ours"))
            wait = await connection.fetchval("SELECT scheduled_at - now() FROM embedding_tasks")
            assert longest_s / 2 - 10 < wait.total_seconds() <= longest_s
            await connection.execute("UPDATE embedding_tasks SET scheduled_at = now()")
