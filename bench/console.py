"""Figure 6, the console on a real terminal: from a commit to the screen, what it costs, how soon it is there.

python -m bench console              latency, CPU, first frame: some four minutes
python -m bench.console --minutes 60 memory under load, a line a minute
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import asyncpg

from bench.result import Console
from bench.scratch import scratch_database
from bench.server import server
from embedq_worker.configuration.settings import Settings
from tests.support.terminal import Terminal, terminal
from tests.support.waiting import until

RATE = 1_000
ROUND_S = 0.05
SAMPLES = 100
QUIET_S = 30.0
FRAMES = 7

TRIVIAL = """
from textual.app import App
from textual.widgets import Footer, Header, Static
class Trivial(App):
    def compose(self):
        yield Header(); yield Static("live 0 pending"); yield Footer()
Trivial().run()
"""
LIBRARIES = f"import asyncpg, click, pydantic_settings\n{TRIVIAL}"
"""The least for a console that reads settings and a database, with the libraries it is to use."""


async def measure(frames: int = FRAMES) -> Console:
    """Measure all but the memory over time.

    Args:
        frames: Pairs of starts.
    """
    async with _queue() as (settings, variables, connection):
        pairs, libraries_s = await _frames(variables, frames)
        async with _console(variables) as program:
            quiet = await _watched(program, connection)
            async with _load(settings):
                busy = await _watched(program, connection)
    return Console(
        frames=pairs,
        libraries_s=libraries_s,
        quiet_cpu=quiet.cpu,
        busy_cpu=busy.cpu,
        quiet_ms=quiet.latencies_ms,
        busy_ms=busy.latencies_ms,
        quiet_mb=quiet.memory_mb,
        busy_mb=busy.memory_mb,
    )


async def memory(minutes: int) -> None:
    """Print the memory under load, a line a minute."""
    async with _queue() as (settings, variables, _), _console(variables) as program, _load(settings):
        for minute in range(minutes + 1):
            print(f"after {minute} min of load: {_rss(program):.1f} MB", flush=True)
            await asyncio.sleep(60 if minute < minutes else 0)


@asynccontextmanager
async def _queue() -> AsyncIterator[tuple[Settings, dict[str, str], asyncpg.Connection[asyncpg.Record]]]:
    async with scratch_database() as settings:
        url = settings.database_url
        assert url is not None
        variables = {"DATABASE_URL": url.get_secret_value(), "HOME": "/nonexistent", "COLORTERM": "truecolor"}
        connection = await asyncpg.connect(**settings.connect_arguments())
        try:
            yield settings, variables, connection
        finally:
            await connection.close()


async def _frames(variables: dict[str, str], frames: int) -> tuple[list[tuple[float, float]], list[float]]:
    """Seconds to the first full frame with data, with those of a trivial Textual app; and of `LIBRARIES`."""
    pairs, libraries_s = [], []
    for _ in range(frames):
        trivial = await _first_frame(["-c", TRIVIAL], variables)
        pairs.append((await _first_frame(["-m", "embedq_tui"], variables), trivial))
        libraries_s.append(await _first_frame(["-c", LIBRARIES], variables))
    return pairs, libraries_s


async def _first_frame(arguments: list[str], variables: dict[str, str]) -> float:
    began = perf_counter()
    async with terminal(arguments, variables, columns=120, lines=40) as program:
        await program.until(lambda text: "live" in text and "pending" in text, within_s=60)
        return perf_counter() - began


@asynccontextmanager
async def _console(variables: dict[str, str]) -> AsyncIterator[Terminal]:
    async with terminal(["-m", "embedq_tui"], variables, columns=120, lines=40) as program:
        await program.until(lambda text: "live" in text and "pending" in text, within_s=60)
        yield program


@dataclass(frozen=True, slots=True)
class _Watched:
    cpu: float
    memory_mb: float
    latencies_ms: list[float]


async def _watched(program: Terminal, connection: asyncpg.Connection[asyncpg.Record]) -> _Watched:
    """What a console costs and how fast it is, whatever goes on beside it."""
    await asyncio.sleep(5)
    cpu = await _cpu(program, QUIET_S)
    latencies = await _latencies(program, connection)
    return _Watched(cpu, _rss(program), [seconds * 1000 for seconds in latencies])


async def _latencies(program: Terminal, connection: asyncpg.Connection[asyncpg.Record]) -> list[float]:
    """Seconds from the commit of a failed task to its number on the screen."""
    found = []
    number = int(await connection.fetchval("SELECT count(*) FROM embedding_tasks WHERE status = 'failed'"))
    for _ in range(SAMPLES):
        await asyncio.sleep(0.3 + random.random() * 0.4)
        number += 1
        await connection.execute(
            """INSERT INTO embedding_tasks (id, slug, operation, status, completed_at, error_message)
               VALUES (gen_random_uuid(), 'bench', 'update', 'failed', now(), 'bench')"""
        )
        began = perf_counter()
        await _seen(program, f"{number:,} failed")
        found.append(perf_counter() - began)
    return found


async def _seen(program: Terminal, text: str) -> None:
    await until(lambda: text in program.text, within_s=10)


@asynccontextmanager
async def _load(settings: Settings) -> AsyncIterator[None]:
    """Tasks come and are completed all the time, by a program of its own."""
    url = settings.database_url
    assert url is not None
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.console", "--load", url.get_secret_value()
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def _come_and_go(url: str) -> None:
    connection = await asyncpg.connect(url)
    batch = int(RATE * ROUND_S)
    while True:
        began = perf_counter()
        ids = await connection.fetch(
            """INSERT INTO embedding_tasks (id, slug, operation)
               SELECT gen_random_uuid(), 'bench', 'update' FROM generate_series(1, $1::int) RETURNING id""",
            batch,
        )
        await connection.execute(
            """UPDATE embedding_tasks SET status = 'completed', completed_at = now()
               WHERE id = ANY ($1::uuid[])""",
            [row["id"] for row in ids],
        )
        await asyncio.sleep(max(ROUND_S - (perf_counter() - began), 0))


async def _cpu(program: Terminal, seconds: float) -> float:
    before = _ticks(program)
    await asyncio.sleep(seconds)
    return (_ticks(program) - before) / os.sysconf("SC_CLK_TCK") / seconds


def _ticks(program: Terminal) -> int:
    fields = Path(f"/proc/{program.process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _rss(program: Terminal) -> float:
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1_024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=60, help="memory under load for so long")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    with suppress(KeyboardInterrupt):
        if chosen.load:
            asyncio.run(_come_and_go(chosen.load))
        else:
            with server():
                asyncio.run(memory(chosen.minutes))
