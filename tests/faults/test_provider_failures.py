"""What the pipeline makes of a provider that fails: nobody's task pays for it, and claiming pauses."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

import pytest

from embedq_worker.backoff import Backoff
from embedq_worker.queue import breaker
from embedq_worker.queue.breaker import Held
from tests.support.content import add_articles, queue_tasks, queued_articles, statuses, wrong_articles
from tests.support.databases import Connection, Database
from tests.support.piping import Bench, bench
from tests.support.provider_faults import OUTAGES
from tests.support.provider_stub import Fault, ProviderStub


async def held(it: Bench) -> Held:
    """Why requests are held back."""
    found = await breaker.look(it.pool, it.scope.provider)
    assert found is not None
    return found


async def kind_of_failure(connection: Connection) -> str:
    return str(await connection.fetchval("SELECT kind FROM embedq_providers"))


async def nobody_was_charged(connection: Connection) -> bool:
    """Whether no attempt of a task that is not done is on record."""
    return not await connection.fetchval(
        "SELECT count(*) FROM embedding_tasks WHERE status <> 'completed' AND attempts > 0"
    )


async def test_too_many_requests_hold_claiming_for_as_long_as_asked(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 20)
    stub.faults.fault, stub.faults.status, stub.faults.times = Fault.STATUS, 429, 1
    stub.faults.headers = {"Retry-After": "600"}
    async with bench(database, stub) as it:
        assert await it.work() == {"requeued": 20}
        cooling = await held(it)
        assert cooling.state == "cooling"
        assert 500 < cooling.wait_s <= 600
        assert await it.pipeline.claim(100) == []
        assert await nobody_was_charged(connection)
        await connection.execute("UPDATE embedq_providers SET retry_at = now()")
        assert await it.work() == {"stored": 20}
        assert await breaker.look(it.pool, it.scope.provider) is None
    assert stub.seen.requests == 2
    assert await wrong_articles(connection) == []


OTHERS: Mapping[str, Mapping[str, object]] = {
    "503": {"fault": Fault.STATUS, "status": 503},
    "no such page": {"fault": Fault.STATUS, "status": 405},
}
"""Faults that are not among the outages every worker is put through."""

FAULTS = {**OUTAGES, **OTHERS}
DOWN = (
    *("500", "503", "dropped", "half an answer", "no JSON", "an empty object", "too few vectors"),
    *("silence", "a trickle"),
)
MISCONFIGURED = (
    *("401", "another model", "other dimensions", "elsewhere", "refuses everything", "no money"),
    "no such page",
)


@pytest.mark.parametrize("fault", DOWN)
async def test_a_provider_that_is_down_opens_the_breaker_and_costs_nobody_an_attempt(
    database: Database, connection: Connection, stub: ProviderStub, fault: str
) -> None:
    await queued_articles(connection, 10)
    stub.faults.turn(FAULTS[fault])
    async with bench(database, stub, request_timeout_ms=100) as it:
        outcomes = await it.work_off(rounds=breaker.FAILURES_TO_OPEN + 1)
        assert outcomes == {"requeued": 10 * breaker.FAILURES_TO_OPEN}
        assert (await held(it)).state == "open"
        assert await kind_of_failure(connection) == "unavailable"
        assert await it.pipeline.claim(10) == []
    assert await nobody_was_charged(connection)
    assert await statuses(connection) == {"pending": 10}


@pytest.mark.parametrize("fault", MISCONFIGURED)
async def test_a_configuration_fault_pauses_everybody_at_once_with_advice(
    database: Database, connection: Connection, stub: ProviderStub, fault: str
) -> None:
    await queued_articles(connection, 10)
    stub.faults.turn(FAULTS[fault])
    async with bench(database, stub) as it:
        assert await it.work() == {"requeued": 10}
        assert (await held(it)).advice
        assert await kind_of_failure(connection) == "misconfigured"
        assert await it.pipeline.claim(10) == []
    assert await nobody_was_charged(connection)


async def test_a_batch_that_succeeds_after_another_found_a_fault_lifts_the_pause(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 2)
    async with bench(database, stub, backoff=Backoff(100.0, 1000.0)) as it:
        first, second = await it.pipeline.claim(1), await it.pipeline.claim(1)
        stub.faults.turn({"fault": Fault.STATUS, "status": 401, "times": 2})  # the text and the control text
        assert (await it.pipeline.run(first)).outcomes == {"requeued": 1}
        assert await it.work() == {}
        assert (await it.pipeline.run(second)).outcomes == {"stored": 1}
        assert await it.work() == {"stored": 1}  # it kept its place meanwhile


@pytest.mark.parametrize("batch", [1, 4])
async def test_a_text_that_is_answered_as_a_wrong_key_is_holds_up_nobody(
    database: Database, connection: Connection, stub: ProviderStub, batch: int
) -> None:
    texts = ["one", "POISON", "two", "three"]
    await queue_tasks(connection, await add_articles(connection, texts, slug="text"))
    stub.faults.turn({"poison": "POISON", "poison_status": 403})
    async with bench(database, stub) as it:
        outcomes = await it.work_off(batch)  # as long as there is something to claim
        assert await breaker.look(it.pool, it.scope.provider) is None
    assert (outcomes["stored"], outcomes["failed"]) == (3, 1)
    assert await connection.fetchval("SELECT count(*) FROM embedding_tasks WHERE attempts = 1") == 3
    assert await connection.fetchval("SELECT attempts FROM embedding_tasks WHERE status = 'failed'") == 3


async def test_deletes_go_on_while_the_provider_is_held(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    articles = await queued_articles(connection, 3)
    stub.faults.api_key = "another"
    async with bench(database, stub) as it:
        await it.work()
        await connection.execute(
            "UPDATE embedding_tasks SET operation = 'delete' WHERE article_id = $1", articles[1]
        )
        assert await it.work() == {"removed": 1}


async def test_what_was_embedded_before_the_failure_is_stored(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 30)
    stub.faults.fault, stub.faults.every, stub.faults.times = Fault.STATUS, 3, 1
    async with bench(database, stub, request_inputs=10, concurrency=1) as it:
        assert await it.work() == {"stored": 20, "requeued": 10}
    assert await nobody_was_charged(connection)


async def test_a_provider_that_fails_now_and_then_is_not_taken_for_down(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 200)
    stub.faults.fault, stub.faults.every = Fault.STATUS, 7
    async with bench(database, stub, request_inputs=5, concurrency=1) as it:
        outcomes = await it.work_off(20)
        assert await breaker.look(it.pool, it.scope.provider) is None
    assert outcomes["stored"] == 200
    assert await wrong_articles(connection) == []


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("every", [2, 3])
@pytest.mark.parametrize("fault", ["500", "dropped", "a trickle"])
async def test_a_provider_that_fails_some_requests_costs_nobody_an_attempt(
    database: Database, connection: Connection, stub: ProviderStub, fault: str, every: int, batch: int
) -> None:
    await queued_articles(connection, 24)
    stub.faults.turn({**OUTAGES[fault], "every": every})
    async with bench(database, stub, concurrency=1, request_timeout_ms=100) as it:
        outcomes = await it.work_off(batch)
        assert await breaker.look(it.pool, it.scope.provider) is None
    assert outcomes["stored"] == 24
    assert await connection.fetchval("SELECT sum(attempts) FROM embedding_tasks") == 24
    assert await wrong_articles(connection) == []


async def test_an_article_of_many_requests_gets_through_although_each_third_fails(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    words = " ".join(f"word{number}" for number in range(240))
    await queue_tasks(connection, await add_articles(connection, [words]))
    stub.faults.turn({**OUTAGES["500"], "every": 3})
    async with bench(database, stub, concurrency=1, request_inputs=1, chunk_size=20, chunk_overlap=0) as it:
        assert (await it.work_off())["stored"] == 1
        assert stub.seen.requests < 40
    assert await connection.fetchval("SELECT attempts FROM embedding_tasks") == 1
    assert await connection.fetchval("SELECT count(*) FROM embeddings") >= 12


async def test_an_article_of_more_texts_than_a_slow_provider_embeds_in_time_gets_through(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    words = " ".join(f"word{number}" for number in range(600))
    await queue_tasks(connection, await add_articles(connection, [words]))
    stub.faults.turn({"max_inputs": 5, "max_inputs_status": 504})
    async with bench(database, stub, concurrency=1, chunk_size=20, chunk_overlap=0) as it:
        assert (await it.work_off())["stored"] == 1
    assert max(stub.seen.sizes) >= 30
    assert await connection.fetchval("SELECT attempts FROM embedding_tasks") == 1
    assert await connection.fetchval("SELECT count(*) FROM embeddings") == max(stub.seen.sizes)


async def test_an_outage_behind_a_gateway_that_caches_answers_costs_nobody_an_attempt(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    stub.faults.turn({"poison": "POISON"})
    await queue_tasks(connection, await add_articles(connection, ["POISON"], slug="poison"))
    async with bench(database, stub) as it:
        assert await it.work() == {"failed": 1}  # found out with a control text, which is cached now
        await queued_articles(connection, 3)
        stub.faults.turn({**OUTAGES["500"], "caches": True})
        await it.work_off(1, rounds=3 * breaker.FAILURES_TO_OPEN)
        assert (await held(it)).state == "open"
    assert await statuses(connection) == {"pending": 3, "failed": 1}
    assert not await connection.fetchval("SELECT sum(attempts) FROM embedding_tasks WHERE status = 'pending'")


async def test_many_requests_that_fail_together_are_one_failure_to_the_next_probe(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 20)
    stub.faults.fault = Fault.STATUS
    stub.faults.hold = asyncio.Event()
    async with bench(database, stub, concurrency=20) as it:
        batches = [asyncio.create_task(it.pipeline.run(await it.pipeline.claim(1))) for _ in range(20)]
        stub.faults.hold.set()
        for batch in batches:
            await batch
        assert (await held(it)).wait_s <= 5


async def test_a_batch_that_takes_too_long_is_tried_task_by_task(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    articles = await queued_articles(connection, 4)
    await connection.execute("UPDATE articles SET content = 'SLOW' WHERE id = $1", articles[1])
    stub.faults.slow = "SLOW"
    async with bench(database, stub, deadline_s=0.3) as it:
        assert await it.work() == {"requeued": 4}
        assert await nobody_was_charged(connection)
        outcomes: Counter[str] = await it.work_off()
    assert outcomes == {"stored": 3, "requeued": 2, "failed": 1}
    assert await wrong_articles(connection) == [articles[1]]


async def test_what_is_done_at_the_deadline_is_kept(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 40)
    stub.faults.fault, stub.faults.every = Fault.TRICKLE, 3
    async with bench(database, stub, deadline_s=1.0, request_inputs=10, concurrency=1) as it:
        assert await it.work() == {"stored": 20, "requeued": 20}
        stub.faults.fault = Fault.NONE
        await it.work_off()
    assert await wrong_articles(connection) == []
