"""A round: work under faults for a while, then peace, then the question whether all is as it should be."""

from __future__ import annotations

import asyncio
import random
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from embedq_worker.actions import backfill
from embedq_worker.actions.backfill import BackfillOptions
from embedq_worker.errors import EmbedqError
from embedq_worker.schema import migrations
from tests.soak.faults import UNREACHABLE, Fault
from tests.soak.scene import CHUNK_OVERLAP, CHUNK_SIZE, WORKERS, Scene, scene
from tests.support.crashing import CrashingServer
from tests.support.foreign_worker import ForeignWorker
from tests.support.oracle import Finding, Kind, judge
from tests.support.oracle.claims import Move, moves

ARTICLES = 120
"""At the beginning of a round."""

DRAINED_WITHIN_S = 180.0
_UNDER_WAY = "SELECT count(*) > 20 FROM embedding_tasks WHERE status = 'completed'"
_OPEN = "SELECT count(*) FROM embedding_tasks WHERE status IN ('pending', 'processing')"


@dataclass(frozen=True, slots=True)
class Strike:
    """One strike of a fault: how often it counts, and from when on all has to get well."""

    fault: str
    times: int
    well_from: datetime


@dataclass(slots=True)
class Round:
    """What came of a round.

    Attributes:
        faults: What was done.
        strikes: When, and how often.
        findings: What is wrong.
        recoveries: Seconds after each strike until all that was in hand was settled and more was completed.
        completed: Tasks that workers of ours completed.
        articles: There at the end.
        workers: Started.
        drain_s: From peace to an empty queue.
        notes: For whoever looks for a cause.
    """

    faults: Sequence[Fault]
    strikes: list[Strike] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)
    completed: int = 0
    articles: int = 0
    workers: int = 0
    drain_s: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def times(self) -> Counter[str]:
        """How often each fault struck."""
        total: Counter[str] = Counter()
        for strike in self.strikes:
            total[strike.fault] += strike.times
        return total


async def play(
    server: CrashingServer, faults: Sequence[Fault], seconds: float, chance: random.Random
) -> Round:
    """Play a round in a database of its own.

    Args:
        server: Where.
        faults: Done at once, each at its own pace.
        seconds: For how long; then come peace, draining and judgement.
        chance: Decides.
    """
    played = Round(faults)
    async with scene(server, chance, ARTICLES) as there:
        writing = asyncio.create_task(there.author.run())
        try:
            await _warm(there)
            await asyncio.gather(*(_strike(there, fault, seconds, played) for fault in faults))
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        await _peace(there, played)
        await _judge(there, played)
    return played


async def _warm(there: Scene) -> None:
    """Wait until work is under way."""
    async with asyncio.timeout(60):
        while not await there.ask(_UNDER_WAY):  # noqa: ASYNC110 - other programs' work
            await asyncio.sleep(0.1)


async def _strike(there: Scene, fault: Fault, seconds: float, played: Round) -> None:
    over = time.monotonic() + seconds
    await asyncio.sleep(there.chance.uniform(0, fault.pause_s[0]))  # a short round has its strike, too
    while time.monotonic() < over:
        began = datetime.now(UTC)
        try:
            times = await fault.strike(there)
        except (*UNREACHABLE, EmbedqError) as error:
            played.notes.append(f"{fault.name}: {type(error).__name__}: {error}"[:300])
            times = 0
        if times:
            well_from = datetime.now(UTC) if fault.passes else began
            played.strikes.append(Strike(fault.name, times, well_from))
        await asyncio.sleep(there.chance.uniform(*fault.pause_s))


async def _peace(there: Scene, played: Round) -> None:
    """Everything is well again: nothing is left to do but the work."""
    began = time.monotonic()
    await migrations.up(there.database.settings)
    await there.say("UPDATE embedding_worker_status SET is_running = true")
    async with there.connected() as connection:
        await there.author.settle(connection)
    repaired = any(fault.repaired for fault in played.faults)
    if repaired:
        async with there.connected() as connection:
            await ForeignWorker(connection).reset(0.0)
    await _drained(there, played)
    played.drain_s = time.monotonic() - began
    if repaired:
        async with there.connected() as connection:
            await backfill.run(connection, BackfillOptions("openai/stub", 100), by="soak@here", planned=0)
        await _drained(there, played)
    played.workers = there.fleet.started
    played.findings += [
        Finding(Kind.UNDONE, "a worker did not end well", text) for text in await there.fleet.stop()
    ]
    played.findings += [Finding(Kind.UNDONE, "a worker crashed", text) for text in there.fleet.crashes]
    played.findings += [Finding(Kind.UNDONE, "the console", text) for text in there.broken]


async def _drained(there: Scene, played: Round) -> None:
    there.fleet.size = WORKERS
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAINED_WITHIN_S):
            while await there.ask(_OPEN):  # noqa: ASYNC110 - other programs' work
                await asyncio.sleep(0.1)
            return
    played.notes.append(f"not drained within {DRAINED_WITHIN_S:.0f} s")
    played.notes += [worker.text[-1_500:] for worker in there.fleet.workers]


async def _judge(there: Scene, played: Round) -> None:
    blameless = not any(fault.repaired for fault in played.faults)
    async with there.connected() as connection:
        played.findings += await judge(
            connection, blameless=blameless, size=CHUNK_SIZE, overlap=CHUNK_OVERLAP
        )
        played.articles = await connection.fetchval("SELECT count(*) FROM articles")
        history = await moves(connection)
    played.completed = sum(move.by_worker and move.now == "completed" for move in history)
    played.recoveries = recoveries(history, [strike.well_from for strike in played.strikes])
    played.notes += [f"the author met a deadlock: {text}" for text in there.author.errors]


def recoveries(history: Sequence[Move], moments: Sequence[datetime]) -> list[float]:
    """Seconds after each moment until nothing is in the hand any more that it was in, and more was completed.

    Args:
        history: Moves of tasks, in order.
        moments: By the clock of the same host.
    """
    by_task: dict[UUID, list[Move]] = {}
    for move in history:
        by_task.setdefault(move.task, []).append(move)
    done = [move.at for move in history if move.by_worker and move.now == "completed"]
    found = []
    for moment in moments:
        after = [at for at in done if at >= moment]
        until = min(after, default=moment)
        for steps in by_task.values():
            place = bisect_right(steps, moment, key=lambda step: step.at)
            if place and place < len(steps) and steps[place - 1].now == "processing":
                until = max(until, steps[place].at)
        found.append((until - moment).total_seconds())
    return found
