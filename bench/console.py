"""The console on a real terminal: from a commit to the screen, what it costs, how soon it is there.

python -m bench.console              latency, CPU, first frame: some four minutes
python -m bench.console --minutes 60 memory under load, a line a minute
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

import asyncpg

from bench.scratch import scratch_database
from embedq_worker.settings import Settings
from tests.support.terminal import Terminal, terminal

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


async def main(minutes: int) -> None:
    """Measure, and print what was measured."""
    async with scratch_database() as settings:
        url = settings.database_url
        assert url is not None
        variables = {"DATABASE_URL": url.get_secret_value(), "HOME": "/nonexistent", "COLORTERM": "truecolor"}
        connection = await asyncpg.connect(**settings.connect_arguments())
        try:
            if minutes:
                await _memory(settings, variables, minutes)
                return
            await _frames(variables)
            async with _console(variables) as program:
                await _quiet(program, connection)
                async with _load(settings):
                    await _busy(program, connection)
        finally:
            await connection.close()


async def _frames(variables: dict[str, str]) -> None:
    """Seconds to the first full frame with data, beside a trivial Textual app, one after the other."""
    ours, trivial = [], []
    for _ in range(FRAMES):
        trivial.append(await _first_frame(["-c", TRIVIAL], variables))
        ours.append(await _first_frame(["-m", "embedq_tui"], variables))
    ratio = median(mine / its for mine, its in zip(ours, trivial, strict=True))
    print(
        f"first frame with live data {median(ours):.2f} s, a trivial Textual app {median(trivial):.2f} s, "
        f"median of the ratios {ratio:.2f}"
    )


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


async def _quiet(program: Terminal, connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await asyncio.sleep(5)
    print(f"quiet: {await _cpu(program, QUIET_S):.2%} of a core over {QUIET_S:.0f} s, {_rss(program):.0f} MB")
    _tell("quiet", await _latencies(program, connection))


async def _busy(program: Terminal, connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await asyncio.sleep(5)
    print(f"{RATE:,} tasks/s: {await _cpu(program, QUIET_S):.1%} of a core, {_rss(program):.0f} MB")
    _tell(f"{RATE:,} tasks/s", await _latencies(program, connection))


def _tell(name: str, seconds: list[float]) -> None:
    cuts = quantiles(seconds, n=20)
    print(f"{name}: commit to screen p50 {median(seconds) * 1000:.0f} ms, p95 {cuts[18] * 1000:.0f} ms")


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
        began, wanted = perf_counter(), f"{number:,} failed"
        await _seen(program, lambda text, wanted=wanted: wanted in text)  # type: ignore[misc]
        found.append(perf_counter() - began)
    return found


async def _seen(program: Terminal, condition: Callable[[str], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition(program.text):  # noqa: ASYNC110 - the screen is another program's
            await asyncio.sleep(0.002)


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


async def _memory(settings: Settings, variables: dict[str, str], minutes: int) -> None:
    async with _console(variables) as program, _load(settings):
        for minute in range(minutes + 1):
            print(f"after {minute} min of load: {_rss(program):.1f} MB", flush=True)
            await asyncio.sleep(60 if minute < minutes else 0)


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
    parser.add_argument("--minutes", type=int, default=0, help="memory under load for so long, nothing else")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(_come_and_go(chosen.load) if chosen.load else main(chosen.minutes))
