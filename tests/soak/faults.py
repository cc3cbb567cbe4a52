"""What is done to the workers, their database and their provider; each leaves everything as it was."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from embedq_worker.database.failures import EXPECTED_ERRORS
from embedq_worker.schema import migrations
from embedq_worker.schema.files import load_migrations
from tests.soak.scene import Scene
from tests.support.clocks import shifted
from tests.support.console_process import Opened
from tests.support.foreign_worker import ForeignWorker
from tests.support.processes import gone
from tests.support.provider_faults import FOR_GOOD, OUTAGES
from tests.support.terminal import terminal
from tests.support.waiting import until

DEAD_AFTER_S = 4.5
OUTLIVES_S = 40.0
"""So long a worker may outlive its console: that connections died in silence is known after some 22 s."""
_TERMINATE = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name LIKE 'embedq-worker%'
                  AND random() < $1"""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break things.

    Attributes:
        name: In the table.
        strike: Does it once; how many times that counts.
        pause_s: Seconds between two strikes, at random from this to that.
        weight: Its share of the time.
        passes: It has an end from which on things can get well; else they have to at once.
        repaired: It takes tasks away or overwrites what they stored, as others may: a backfill follows, as
            the runbook says.
    """

    name: str
    strike: Callable[[Scene], Awaitable[int]]
    pause_s: tuple[float, float] = (0.2, 1.5)
    weight: float = 1.0
    passes: bool = True
    repaired: bool = False


# -- workers


async def kill_a_worker(scene: Scene) -> int:
    """kill -9, at whatever it is; now and then as it starts."""
    running = [worker for worker in scene.fleet.workers if worker.running]
    victim = scene.fleet.some() if scene.chance.random() < 0.9 else scene.chance.choice(running or [None])
    if victim is None:
        return 0
    victim.signal(signal.SIGKILL)
    return 1


async def freeze_a_worker(scene: Scene) -> int:
    """SIGSTOP until others have taken what it held, then SIGCONT."""
    if (victim := scene.fleet.some()) is None:
        return 0
    victim.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(DEAD_AFTER_S + 0.5)
        await scene.fleet.start()  # takes back what silent ones hold, at once
        dead = "SELECT coalesce(bool_or(state = 'dead'), true) FROM embedq_workers WHERE pid = $1"
        async with asyncio.timeout(25):
            while not await scene.ask(dead, victim.pid):  # noqa: ASYNC110 - another program's state
                await asyncio.sleep(0.2)
    finally:
        victim.signal(signal.SIGCONT)
    return 1


async def stop_a_worker(scene: Scene) -> int:
    """SIGTERM, SIGINT, or one after the other."""
    if (victim := scene.fleet.some()) is None:
        return 0
    victim.signal(scene.chance.choice([signal.SIGTERM, signal.SIGINT]))
    if scene.chance.random() < 0.4:
        await asyncio.sleep(scene.chance.uniform(0, 0.3))
        victim.signal(signal.SIGTERM)
    return 1


async def start_with_another_clock(scene: Scene) -> int:
    """A worker on a host whose clock is wrong by up to a month; it ends well, or not."""
    by_s = scene.chance.choice([-1, 1]) * scene.chance.choice([60, 3_600, 86_400, 30 * 86_400])
    worker = await scene.fleet.start(shifted(scene.variables, by_s))
    await asyncio.sleep(scene.chance.uniform(2, 6))
    worker.signal(scene.chance.choice([signal.SIGTERM, signal.SIGKILL]))
    return 1


async def kill_a_console(scene: Scene) -> int:
    """kill -9 of the console whose worker is at work: that one finishes what it holds, and ends."""
    with TemporaryDirectory() as home:
        variables = {**scene.variables, "LOG_FORMAT": "text", "HOME": home, "XDG_STATE_HOME": home}
        variables["LANG"] = "C.UTF-8"
        async with terminal(["-m", "embedq_tui"], variables, columns=100, lines=30) as program:
            await program.until(lambda text: "live" in text and "pending" in text, within_s=40)
            console = Opened(program, Path(home))
            with suppress(AssertionError):  # other faults may keep it from starting one
                await console.start_worker()
            await asyncio.sleep(scene.chance.uniform(0, 1.5))
            workers = console.workers
            program.process.kill()
            try:
                await until(lambda: all(gone(worker) for worker in workers), within_s=OUTLIVES_S)
            except TimeoutError:
                scene.broken.append(f"a worker outlived its console by {OUTLIVES_S:.0f} s")
                for worker in workers:
                    worker.kill()
    return 1


# -- the database


async def cut_sessions(scene: Scene) -> int:
    """pg_terminate_backend of some sessions of workers, or of all."""
    return int(await scene.ask(_TERMINATE, scene.chance.choice([0.3, 1.0])))


async def kill_the_server(scene: Scene) -> int:
    """PostgreSQL loses its postmaster, is shut down at once, or loses one process; and comes back."""
    way = scene.chance.choice(["postmaster", "immediate", "process"])
    if way == "process":
        victim = await scene.ask(
            """SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'embedq-worker%'
               ORDER BY random() LIMIT 1"""
        )
        if victim is None:
            return 0
        os.kill(victim, signal.SIGKILL)
        await asyncio.sleep(0.2)
        assert await scene.server.accepts()
        return 1
    await scene.server.end(signal.SIGKILL if way == "postmaster" else signal.SIGQUIT)
    await asyncio.sleep(scene.chance.uniform(0, 2))
    await scene.server.start()
    return 1


async def migrate(scene: Scene) -> int:
    """The last migrations are taken back and made again, while workers work."""
    last = load_migrations()[-1].version
    try:
        await migrations.rollback(scene.database.settings, scene.chance.randint(last - 3, last - 1))
        await asyncio.sleep(scene.chance.uniform(0, 0.5))
    finally:
        await migrations.up(scene.database.settings)
    return 1


# -- the network between workers and database


async def drop_lines(scene: Scene) -> int:
    """Every connection ends; for a moment none is accepted."""
    scene.proxy.cut()
    scene.proxy.refuses = scene.chance.random() < 0.5
    try:
        await asyncio.sleep(scene.chance.uniform(0, 1))
    finally:
        scene.proxy.refuses = False
    return 1


async def delay_lines(scene: Scene) -> int:
    """Every packet takes up to half a second more."""
    scene.proxy.delay_s = scene.chance.uniform(0.02, 0.5)
    try:
        await asyncio.sleep(scene.chance.uniform(1, 3))
    finally:
        scene.proxy.delay_s = 0.0
    return 1


async def halve_lines(scene: Scene) -> int:
    """Of whatever is sent next a half arrives, and the connection ends."""
    scene.proxy.halves = True
    try:
        await asyncio.sleep(scene.chance.uniform(0.05, 0.5))
    finally:
        scene.proxy.halves = False
    return 1


async def silence_lines(scene: Scene) -> int:
    """Nothing gets through the connections there are, and nobody is told."""
    scene.proxy.swallow()
    return 1


# -- the provider


async def lose_the_provider(scene: Scene) -> int:
    """It refuses connections for a while, and comes back."""
    await scene.stub.stop()
    try:
        await asyncio.sleep(scene.chance.uniform(0.5, 6))
    finally:
        await scene.stub.__aenter__()
    return 1


async def spoil_the_provider(scene: Scene) -> int:
    """It answers as it should not, to every request or to each second or third, and then as it should."""
    wrong = scene.chance.choice([knobs for name, knobs in OUTAGES.items() if name not in FOR_GOOD])
    pace = {"latency_s": scene.stub.faults.latency_s}
    scene.stub.faults.turn({**pace, **wrong, "every": scene.chance.randint(1, 3)})
    try:
        await asyncio.sleep(scene.chance.uniform(0.5, 6))
    finally:
        scene.stub.faults.turn(pace)
    return 1


# -- others


async def edit_what_is_in_hand(scene: Scene) -> int:
    """Articles are edited, hidden and deleted while they are being embedded."""
    async with scene.connected() as connection:
        return await scene.author.disturb(connection, 8)


async def type_statements(scene: Scene) -> int:
    """What a runbook says to type into psql."""
    match scene.chance.randrange(4):
        case 0:  # half an hour would be too long to wait for
            await scene.say(
                """UPDATE embedding_tasks SET status='pending', processed_at=NULL
                   WHERE status='processing' AND processed_at < NOW() - INTERVAL '50 milliseconds'"""
            )
        case 1:
            await scene.say(
                """UPDATE embedding_tasks SET status='failed', error_message='Cancelled by administrator'
                   WHERE status='pending'"""
            )
        case 2:
            try:
                await scene.say("UPDATE embedding_worker_status SET is_running = false")
                await asyncio.sleep(scene.chance.uniform(0.2, 2))
            finally:
                await scene.say("UPDATE embedding_worker_status SET is_running = true")
        case _:
            await scene.say("DELETE FROM embedding_tasks")
    return 1


async def run_a_foreign_worker(scene: Scene) -> int:
    """The article program's own worker starts, takes back what looks stuck, works, and dies as it stands."""
    async with scene.connected() as connection:
        theirs = ForeignWorker(connection)
        await theirs.reset(scene.chance.choice([0.05, 1.0, 30.0]))
        with suppress(TimeoutError):
            async with asyncio.timeout(scene.chance.uniform(0.5, 4)):
                await theirs.run()
    async with scene.connected() as connection:
        await ForeignWorker(connection).reset(2.0)
    return theirs.done


FAULTS: Sequence[Fault] = (
    Fault("workers killed (kill -9)", kill_a_worker, (0.05, 0.4), weight=8.0),
    Fault("workers frozen until presumed dead, then thawed", freeze_a_worker, (0.0, 0.5), 1.5, passes=False),
    Fault("workers started and stopped", stop_a_worker, (0.1, 1.0)),
    Fault("workers with a wrong clock", start_with_another_clock, (0.0, 0.3), passes=False),
    Fault("console killed (kill -9)", kill_a_console, (0.0, 0.5), weight=2.0),
    Fault("sessions terminated (pg_terminate_backend)", cut_sessions, (0.1, 1.0)),
    Fault("PostgreSQL killed or stopped immediately", kill_the_server, (0.5, 3.0), weight=1.5),
    Fault("migrations rolled back and reapplied", migrate, (0.2, 2.0)),
    Fault("network: connections dropped", drop_lines),
    Fault("network: packets delayed", delay_lines),
    Fault("network: messages cut in half", halve_lines),
    Fault("network: connections gone silent", silence_lines, (10.0, 16.0), weight=2.5),
    Fault("provider down, then back", lose_the_provider, (1.0, 4.0), weight=2.0),
    Fault("provider sending wrong answers", spoil_the_provider, (1.0, 4.0), weight=2.0),
    Fault("articles edited and deleted while embedded", edit_what_is_in_hand, (0.02, 0.3)),
    Fault("an operator's statements in psql", type_statements, (0.3, 1.5), repaired=True),
    Fault("another program's worker running alongside", run_a_foreign_worker, (0.2, 1.0), repaired=True),
)

UNREACHABLE = (*EXPECTED_ERRORS, AssertionError)
"""What a fault runs into while another one has the database in its hands."""
