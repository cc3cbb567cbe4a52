"""python -m bench [SECTION ..]: measure, keep the raw numbers, and write docs/performance.md from them."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg

from bench import console, engine, flat, latency, pipeline, report, scaling, startup
from bench.result import FILE, Result, Taken, load, machine, save, versions
from bench.server import VARIABLE, server

SETTINGS = (
    "server_version",
    "shared_buffers",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "max_wal_size",
)

SECTIONS: dict[str, Callable[[bool], Awaitable[Any]]] = {
    "engine": lambda quick: engine.measure(1, 0.05) if quick else engine.measure(7),
    "latency": lambda quick: latency.measure(20 if quick else 1_000),
    "flat": lambda quick: flat.measure(5, 50_000) if quick else flat.measure(60),
    "pipeline": lambda quick: pipeline.measure(1, 200) if quick else pipeline.measure(5),
    "scaling": lambda quick: scaling.measure(1, 5_000, 200) if quick else scaling.measure(4),
    "console": lambda quick: console.measure(1) if quick else console.measure(),
    "startup": lambda quick: startup.measure(1) if quick else startup.measure(15),
}
"""Each takes some minutes; quick: some seconds, to see that it works."""


async def run(sections: list[str], result: Result, *, quick: bool, file: Path) -> None:
    """Measure sections, each kept as soon as it is done; what the file has of others stays."""
    result.machine, result.versions = machine(), versions()
    connection = await asyncpg.connect(os.environ[VARIABLE])
    result.server = {name: await connection.fetchval(f"SHOW {name}") for name in SETTINGS}
    await connection.close()
    for name in sections:
        print(f"-- {name}", flush=True)
        taken = Taken()
        setattr(result, name, await SECTIONS[name](quick))
        taken.load_after = os.getloadavg()[0]
        result.taken[name] = taken
        save(result, file)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", choices=[*SECTIONS, []], metavar="SECTION", help=", ".join(SECTIONS)
    )
    parser.add_argument("--quick", action="store_true", help="some seconds each, only to see that all works")
    parser.add_argument("--file", type=Path, default=FILE, help="where the raw numbers are kept")
    chosen = parser.parse_args()
    result = load(chosen.file) if chosen.file.exists() else Result()
    with server():
        asyncio.run(run(chosen.sections or list(SECTIONS), result, quick=chosen.quick, file=chosen.file))
    if chosen.file == FILE:
        report.write()


if __name__ == "__main__":
    main()
