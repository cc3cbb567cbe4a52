"""The circuit breaker that workers share: opens, is probed by one of them, closes."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime

import pytest

from embedq_worker.actions.probing import Probed, probe
from embedq_worker.configuration.settings import Settings
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.overview import overview
from embedq_worker.providers.base import (
    InputRejected,
    ProviderError,
    ProviderMisconfigured,
    ProviderRateLimited,
    ProviderUnavailable,
)
from embedq_worker.queue import breaker
from tests.support.queue_world import PROVIDER, World, waiters

DOWN = ProviderUnavailable("connection refused", "is it running?")


async def fail(world: World, error: ProviderError = DOWN, *, times: int = 1, probe: bool = False) -> float:
    """Let requests fail one after the other; seconds to wait after the last."""
    wait_s = 0.0
    for _ in range(times):
        wait_s = await breaker.failed(world.pool, PROVIDER, error, probe=probe)
    return wait_s


async def look(world: World) -> breaker.Held | None:
    return await breaker.look(world.pool, PROVIDER)


async def pass_time(world: World, seconds: float) -> None:
    """Let what is to come come sooner."""
    await world.psql.execute(
        "UPDATE embedq_providers SET retry_at = retry_at - $1 * interval '1 second'", seconds
    )


async def state(world: World) -> str:
    return str(await world.psql.fetchval("SELECT state FROM embedq_providers WHERE key = $1", PROVIDER))


async def test_five_failures_in_a_row_open_it_and_a_success_begins_the_row_anew(world: World) -> None:
    assert await look(world) is None
    assert await fail(world, times=4) == 0
    assert await look(world) is None
    assert not await breaker.works(world.pool, PROVIDER)
    assert await fail(world, times=4) == 0
    assert await look(world) is None
    assert await fail(world) == pytest.approx(5)
    held = await look(world)
    assert held is not None
    assert (held.state, held.reason, held.advice) == ("open", "connection refused", "is it running?")
    assert not held.probe
    assert 0 < held.wait_s <= 5


async def test_while_it_is_open_nobody_claims_but_deletes_and_others_are_not_concerned(world: World) -> None:
    update, delete = (
        await world.task(await world.article()),
        await world.task(await world.article(), "delete"),
    )
    scope = await world.worker()
    await fail(world, times=5)
    assert [task.id for task in await world.claim(scope)] == [delete]
    assert await breaker.look(world.pool, "another") is None
    assert await breaker.works(world.pool, PROVIDER)
    assert [task.id for task in await world.claim(scope)] == [update]


async def test_what_was_in_flight_when_it_opened_does_not_put_the_probe_off(world: World) -> None:
    await fail(world, times=30)
    held = await look(world)
    assert held is not None
    assert held.wait_s <= 5
    await pass_time(world, 5)
    await asyncio.gather(*(fail(world) for _ in range(8)))
    held = await look(world)
    assert held is not None
    assert held.probe


async def test_a_misconfiguration_opens_it_at_once(world: World) -> None:
    await fail(world, ProviderMisconfigured("no such model", "pull it"))
    held = await look(world)
    assert held is not None
    assert (held.state, held.advice) == ("open", "pull it")


async def test_a_rate_limit_cools_for_as_long_as_the_provider_says(world: World) -> None:
    await world.task(await world.article())
    scope = await world.worker()
    assert await fail(world, ProviderRateLimited("slow down", retry_after=30)) == pytest.approx(30)
    held = await look(world)
    assert held is not None
    assert (held.state, held.probe) == ("cooling", False)
    assert 25 < held.wait_s <= 30
    await fail(world, ProviderRateLimited("slow down", retry_after=2))
    held = await look(world)
    assert held is not None
    assert held.wait_s > 25, "a shorter answer that comes late does not shorten it"
    assert await world.claim(scope) == []
    assert [row.state for row in (await overview(world.psql, Settings())).held] == ["cooling"]
    await pass_time(world, 30)
    assert await look(world) is None
    assert not (await overview(world.psql, Settings())).held, "there may be no task with which to try"
    assert len(await world.claim(scope)) == 1


@pytest.mark.parametrize("error", [DOWN, ProviderRateLimited("slow down", retry_after=30)])
async def test_a_clock_that_is_set_back_by_hours_holds_up_nobody(world: World, error: ProviderError) -> None:
    await fail(world, error, times=5)
    await world.psql.execute(
        """UPDATE embedq_providers SET retry_at = retry_at + interval '5 hours',
               updated_at = updated_at + interval '5 hours'"""
    )
    seen = await asyncio.gather(*(look(world) for _ in range(8)))
    assert sum(held.probe for held in seen if held) == (error is DOWN)
    assert all(held is None for held in seen) == (error is not DOWN)


async def test_without_a_word_from_the_provider_patience_grows_with_each_round_not_with_each_answer(
    world: World,
) -> None:
    waits = []
    for _ in range(8):
        await fail(world, ProviderRateLimited("slow down"), times=5)
        held = await look(world)
        assert held is not None
        waits.append(held.wait_s)
        await pass_time(world, 120)
    assert waits == pytest.approx(sorted(waits), abs=5)
    assert 0 < waits[0] <= 2
    assert 50 < waits[-1] <= 60


async def test_one_of_many_probes_at_a_time(world: World) -> None:
    await fail(world, times=5)
    seen = await asyncio.gather(*(look(world) for _ in range(8)))
    assert [held.probe for held in seen if held] == [False] * 8
    for _ in range(3):
        await pass_time(world, breaker.PROBE_LEASE_S)  # the time comes; or the one who was told has died
        seen = await asyncio.gather(*(look(world) for _ in range(8)))
        assert sum(held.probe for held in seen if held) == 1
        assert all(held and held.state == "open" for held in seen)


async def test_who_is_still_probing_keeps_the_others_from_it(world: World) -> None:
    await fail(world, times=5)
    await pass_time(world, 5)
    held = await look(world)
    assert held is not None
    assert held.probe
    for _ in range(3):
        await pass_time(world, breaker.PROBE_LEASE_S - 1)
        assert await breaker.still_probing(world.pool, PROVIDER)
        held = await look(world)
        assert held is not None
        assert not held.probe
    await pass_time(world, breaker.PROBE_LEASE_S)
    held = await look(world)
    assert held is not None
    assert held.probe
    await breaker.works(world.pool, PROVIDER)
    assert not await breaker.still_probing(world.pool, PROVIDER)  # a word that comes late holds nobody
    assert await look(world) is None


async def probing_since(world: World) -> datetime | None:
    """What an operator sees of the worker that probes."""
    [row] = (await overview(world.psql, Settings())).providers
    return row.probing_since


async def test_a_probe_under_way_is_told_from_its_beginning_to_its_end(world: World) -> None:
    heard: list[object] = []
    session = await world.database.connect()
    await session.add_listener("embedq_changes", lambda *args: heard.append(args[-1]))
    await fail(world, times=5)
    assert await probing_since(world) is None
    await pass_time(world, 5)
    assert await probing_since(world) is None
    await look(world)
    began = await probing_since(world)
    assert began is not None
    await breaker.still_probing(world.pool, PROVIDER)
    await look(world)
    await fail(world)  # what was in flight
    assert await probing_since(world) == began
    await fail(world, probe=True)
    assert await probing_since(world) is None
    await session.execute("SELECT 1")
    assert heard == ["provider"] * 3, "it opened; a probe began; it failed"
    await pass_time(world, 400)
    await look(world)
    await ask(world)
    assert await probing_since(world) is None, "the worker gives it up"
    await look(world)
    await pass_time(world, breaker.PROBE_LEASE_S)
    assert await probing_since(world) is None, "the worker died"
    await look(world)
    await breaker.works(world.pool, PROVIDER)
    await fail(world, times=5)
    assert await probing_since(world) is None


async def test_probes_that_fail_come_ever_rarer(world: World) -> None:
    waits = [await fail(world, times=5)]
    opened = "SELECT opened_at FROM embedq_providers"
    opened_at = await world.psql.fetchval(opened)
    for _ in range(9):
        await pass_time(world, 400)
        held = await look(world)
        assert held is not None
        assert held.probe
        waits.append(await fail(world, probe=True))
        held = await look(world)
        assert held is not None
        assert not held.probe
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300, 300]
    assert await world.psql.fetchval(opened) == opened_at is not None


async def test_a_provider_that_refuses_the_text_of_a_probe_is_unavailable(world: World) -> None:
    """It refuses all: Gemini answers so when its key has expired."""
    await fail(world, times=5)
    await fail(world, InputRejected("API key expired"), probe=True)
    row = await world.psql.fetchrow("SELECT state, kind, reason FROM embedq_providers")
    assert row is not None
    assert tuple(row) == ("open", "unavailable", "API key expired")


async def test_a_probe_that_is_told_to_wait_waits(world: World) -> None:
    await fail(world, times=5)
    await pass_time(world, 5)
    await look(world)
    await fail(world, ProviderRateLimited("slow down", retry_after=70), probe=True)
    held = await look(world)
    assert held is not None
    assert held.state == "open"
    assert 60 < held.wait_s <= 70


async def test_a_success_closes_it_for_all_and_is_told_once(world: World) -> None:
    await fail(world, times=5)
    closed = await asyncio.gather(*(breaker.works(world.pool, PROVIDER) for _ in range(8)))
    assert sum(closed) == 1
    assert await look(world) is None
    row = await world.psql.fetchrow("SELECT * FROM embedq_providers")
    assert row is not None
    assert (row["state"], row["failures"], row["reason"], row["retry_at"]) == ("closed", 0, "", None)
    audited = await world.psql.fetch("SELECT level FROM embedding_audit_logs ORDER BY timestamp")
    assert [entry["level"] for entry in audited] == ["error", "info"]
    assert await fail(world, times=4) == 0


async def test_reports_at_the_same_moment_are_counted_each_and_told_once(world: World) -> None:
    await fail(world)
    async with world.psql.transaction():
        await world.psql.execute("SELECT FROM embedq_providers FOR UPDATE")
        reports = [asyncio.create_task(fail(world)) for _ in range(3)]
        await waiters(world, 3)
    await asyncio.gather(*reports)
    assert await fail(world) == pytest.approx(5), "the fifth"
    async with world.psql.transaction():
        await world.psql.execute("SELECT FROM embedq_providers FOR UPDATE")
        successes = [asyncio.create_task(breaker.works(world.pool, PROVIDER)) for _ in range(3)]
        await waiters(world, 3)
    assert sum(await asyncio.gather(*successes)) == 1


async def test_who_looks_at_one_provider_or_probes_it_puts_off_no_other(world: World) -> None:
    await fail(world, times=5)
    await pass_time(world, 4)
    assert await breaker.failed(world.pool, "another", DOWN) == 0
    await breaker.failed(world.pool, "another", DOWN, threshold=1, probe=True)
    await breaker.still_probing(world.pool, "another")
    await pass_time(world, 1)
    held = await breaker.look(world.pool, "another")
    assert held is not None
    assert not held.probe
    held = await look(world)
    assert held is not None
    assert held.probe


async def test_workers_are_told_of_each_change_and_of_nothing_else(world: World) -> None:
    heard: list[object] = []
    session = await world.database.connect()
    for channel in ("embedq_work", "embedq_changes"):
        await session.add_listener(channel, lambda *args: heard.append(args[2:]))
    await fail(world, times=9)
    await breaker.works(world.pool, PROVIDER)
    await breaker.works(world.pool, PROVIDER)
    await session.execute("SELECT 1")
    assert heard == [("embedq_work", "provider"), ("embedq_changes", "provider")] * 2


async def test_workers_are_told_of_each_new_pause(world: World) -> None:
    """Or they would claim again when they next poll, not when it is over."""
    heard: list[object] = []
    session = await world.database.connect()
    await session.add_listener("embedq_work", lambda *args: heard.append(args[3]))
    for _ in range(3):
        await fail(world, ProviderRateLimited("slow down", retry_after=2), times=2)
        await pass_time(world, 2)
    await session.execute("SELECT 1")
    assert heard == ["provider"] * 3


async def ask(world: World, key: str | None = None) -> list[Probed]:
    """Let an operator ask, and wait for nobody."""
    return await probe(world.psql, key, "ops@bastion", dead_s=45, within_s=0)


async def test_an_operator_has_what_is_held_probed_at_once(world: World) -> None:
    assert await ask(world) == []
    await fail(world, ProviderMisconfigured("no such model", "pull it"))
    for _ in range(12):
        await pass_time(world, 400)
        await look(world)
        await fail(world, probe=True)
    held = await look(world)
    assert held is not None
    assert (held.probe, held.wait_s > 100) == (False, True)
    heard: list[object] = []
    session = await world.database.connect()
    await session.add_listener("embedq_work", lambda *args: heard.append(args[-1]))
    [asked] = await ask(world)
    assert (asked.key, asked.held, asked.answered, asked.workers) == (PROVIDER, True, False, 0)
    await session.execute("SELECT 1")
    assert heard == ["provider"]
    seen = await asyncio.gather(*(look(world) for _ in range(4)))
    assert sum(held.probe for held in seen if held) == 1
    assert await fail(world, probe=True) == 5, "who asks has mended something: patience begins anew"
    audited = await world.psql.fetchval(
        "SELECT metadata FROM embedding_audit_logs WHERE category = 'queue_operations'"
    )
    assert json.loads(audited) == {"operator": "ops", "host": "bastion", "providers": [PROVIDER]}
    with pytest.raises(EmbedqError):
        await ask(world, "another")


async def test_a_probe_that_began_before_the_operator_asked_is_no_answer(world: World) -> None:
    await fail(world, ProviderMisconfigured("no such model"))
    await pass_time(world, 5)
    held = await look(world)
    assert held is not None
    assert held.probe
    await ask(world)
    await breaker.still_probing(world.pool, PROVIDER)
    await fail(world, ProviderMisconfigured("no such model"), probe=True)
    held = await look(world)
    assert held is not None
    assert held.probe


async def test_an_operator_ends_the_patience_after_a_rate_limit(world: World) -> None:
    await world.task(await world.article())
    scope = await world.worker()
    await fail(world, ProviderRateLimited("slow down", retry_after=300))
    [asked] = await ask(world, PROVIDER)
    assert (asked.held, asked.answered, asked.workers, asked.reason) == (False, True, 1, "")
    assert await look(world) is None
    assert len(await world.claim(scope)) == 1
    assert await ask(world, PROVIDER) == []


async def test_successes_and_failures_of_many_do_not_lock_each_other_out(world: World) -> None:
    async def work(seed: int) -> None:
        for number in range(25):
            if (seed + number) % 3:
                await fail(world)
            else:
                await breaker.works(world.pool, PROVIDER)
            await look(world)

    async with asyncio.timeout(20):
        await asyncio.gather(*(work(seed) for seed in range(8)))
    assert await state(world) in ("closed", "open")
