"""However the console ends, at whatever moment: no process stays unless on purpose, nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.support.console_process import Opened, is_worker
from tests.support.content import queued_articles, statuses, until_tasks
from tests.support.databases import Connection, Database
from tests.support.oracle import judge
from tests.support.processes import gone
from tests.support.provider_stub import ProviderStub
from tests.support.terminal import Terminal, terminal
from tests.support.waiting import until
from tests.support.worker_process import environment, run_worker_process

TASKS = 40
GRACE_S = 3.0
CONSOLE_WITHIN_S = 10.0
WORKER_WITHIN_S = GRACE_S + 10.0

Ending = Callable[[Terminal], None]


def by_signal(number: signal.Signals) -> Ending:
    return lambda program: os.kill(program.process.pid, number)


ENDINGS: dict[str, Ending] = {
    "hang-up": Terminal.hang_up,
    "SIGHUP": by_signal(signal.SIGHUP),
    "SIGTERM": by_signal(signal.SIGTERM),
    "SIGKILL": by_signal(signal.SIGKILL),
}

pytestmark = pytest.mark.usefixtures("witness")


@asynccontextmanager
async def opened(database: Database, stub: ProviderStub, home: Path) -> AsyncIterator[Opened]:
    """A console that shows live data; a worker that outlives it fails the test, and is killed."""
    variables = environment(database, stub, EMBEDDING_SHUTDOWN_GRACE=int(GRACE_S * 1000), LOG_FORMAT="text")
    variables |= {"HOME": str(home), "XDG_STATE_HOME": str(home), "LANG": "C.UTF-8"}
    before = {child.pid for child in psutil.process_iter() if is_worker(child)}
    async with terminal(["-m", "embedq_tui"], variables, columns=100, lines=30) as program:
        await program.until(lambda text: "live" in text and "pending" in text, within_s=30)
        try:
            yield Opened(program, home)
        finally:
            if program.process.returncode is None:
                program.process.kill()
                await program.process.wait()
            for process in psutil.process_iter():
                if process.pid not in before and is_worker(process) and database.url in variables_of(process):
                    process.kill()


def variables_of(process: psutil.Process) -> str:
    try:
        return "\n".join(process.environ().values())
    except psutil.Error:
        return ""


async def until_ended(console: Opened, workers: list[psutil.Process]) -> None:
    """Wait until the console and its workers are gone, within the time that is due to each."""
    await console.program.ended(within_s=CONSOLE_WITHIN_S)
    await until(lambda: all(gone(worker) for worker in workers), within_s=WORKER_WITHIN_S)


async def assert_nothing_lost(connection: Connection, database: Database, stub: ProviderStub) -> None:
    """Whatever was left undone another worker does, and every count is right."""
    stub.faults.hold = None
    code, worker = await run_worker_process(environment(database, stub), "--drain")
    assert code == 0, worker.text
    assert await statuses(connection) == {"completed": TASKS}
    assert await judge(connection) == []


async def hold_tasks(connection: Connection, stub: ProviderStub) -> None:
    """Let the worker wait for its provider with tasks in hand."""
    stub.faults.hold = asyncio.Event()
    await queued_articles(connection, TASKS)
    await until(lambda: stub.seen.in_flight >= 1)


@pytest.mark.parametrize(
    ("ending", "keys"),
    [
        ("hang-up", "RS\x1b"),  # its worker is reset that moment, and a dialog comes and goes
        ("SIGTERM", "q"),  # it is asked what becomes of the worker
        ("SIGKILL", "t"),  # its worker is stopping
    ],
)
async def test_whoever_ends_it_while_its_worker_holds_tasks_nothing_stays_and_nothing_is_lost(
    database: Database, connection: Connection, stub: ProviderStub, tmp_path: Path, ending: str, keys: str
) -> None:
    async with opened(database, stub, tmp_path) as console:
        worker = await console.start_worker()
        await hold_tasks(connection, stub)
        console.program.type(keys)
        await asyncio.sleep(random.uniform(0.0, 1.0))
        workers = list({worker, *console.workers})
        ENDINGS[ending](console.program)
        await until_ended(console, workers)
    await assert_nothing_lost(connection, database, stub)


@pytest.mark.slow
async def test_a_terminal_that_takes_nothing_holds_up_neither_the_worker_nor_signals(
    database: Database, connection: Connection, stub: ProviderStub, tmp_path: Path
) -> None:
    async with opened(database, stub, tmp_path) as console:
        worker = await console.start_worker()
        console.program.stall()
        for number in range(20):  # all that is shown changes, many times more than the terminal buffers
            console.program.type("1256"[number % 4])
            await asyncio.sleep(0.1)
        await queued_articles(connection, TASKS)
        await until(lambda: stub.seen.in_flight == 0 and stub.seen.requests > 0)
        ENDINGS["SIGTERM"](console.program)
        await until_ended(console, [worker])
    await assert_nothing_lost(connection, database, stub)


async def test_a_worker_is_left_running_or_stopped_as_the_operator_says(
    database: Database, connection: Connection, stub: ProviderStub, tmp_path: Path
) -> None:
    async with opened(database, stub, tmp_path) as console:
        worker = await console.start_worker()
        await hold_tasks(connection, stub)
        await console.press("q", "Leave it running")
        await console.press("\x1b", "running, pid")  # stays
        await console.press("q", "Leave it running")
        console.program.type("j\r")
        assert await console.program.ended() == 0
        _, _, afterwards = console.program.received.rpartition(b"\x1b[?1049l")
        assert str(console.log_of(worker)).encode() in afterwards
        assert stub.faults.hold is not None
        stub.faults.hold.set()
        await until_tasks(connection, completed=TASKS)  # nobody watches it any more, and it goes on
        assert not gone(worker)
        worker.terminate()
        await until(lambda: gone(worker), within_s=WORKER_WITHIN_S)
        assert console.log_of(worker).stat().st_size > 0
    await assert_nothing_lost(connection, database, stub)


MOMENTS = {
    "starting": "5s",
    "just started again": "5s r",
    "reset": "5s R",
    "reset and a dialog": "5s RS\x1b",
    "stopping": "5s t",
    "forced": "5s tT",
    "quitting, asked": "5s q",
    "quitting, stopping": "5s q\r",
    "quitting, leaving": "5s qj\r",
    "palette": "5s :",
    "bulk action": "5s 2X",
    "another screen": "5s 1",
    "crash loop": "5s !",
}


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("moment", MOMENTS)
async def test_at_any_moment(
    database: Database, connection: Connection, stub: ProviderStub, tmp_path: Path, moment: str, ending: str
) -> None:
    chance = random.Random(f"{moment} {ending}")
    async with opened(database, stub, tmp_path) as console:
        start, _, keys = MOMENTS[moment].partition(" ")
        await console.press(start[0], "This console")
        console.program.type(start[1:])
        workers: set[psutil.Process] = set()
        if keys:
            await console.program.until(lambda text: "running, pid" in text)
            await hold_tasks(connection, stub)
            if keys == "!":
                for worker in console.workers:
                    worker.kill()
            workers.update(console.workers)
            for key in keys:
                console.program.type(key)
                await asyncio.sleep(chance.uniform(0.0, 0.3))
        else:
            await queued_articles(connection, TASKS)
        await asyncio.sleep(chance.uniform(0.0, 1.5))
        workers.update(console.workers)
        with suppress(ProcessLookupError):  # it may have quit just now, as it was told
            ENDINGS[ending](console.program)
        await console.program.ended(within_s=CONSOLE_WITHIN_S)
        for worker in workers:
            if console.log_of(worker).exists():  # it was left on purpose just before
                worker.terminate()
        await until_ended(console, list(workers))
    await assert_nothing_lost(connection, database, stub)
