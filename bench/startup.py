"""Figure 7: what it costs to start a command, beside what no command can do without, in turns."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from bench.result import Startup
from bench.scratch import scratch_database

ROOT = Path(__file__).resolve().parents[1]

_QUERY = """
import asyncio, os, asyncpg
async def main():
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    await connection.fetchval("SELECT 1")
    await connection.close()
asyncio.run(main())
"""

_LIBRARIES = f"import click\nfrom pydantic_settings import BaseSettings\n{_QUERY}"

_COMMAND = ["-P", "-m", "embedq_tui"]

CASES: dict[str, list[str]] = {
    "python -c pass": ["-P", "-c", "pass"],
    "import asyncpg": ["-P", "-c", "import asyncpg"],
    "asyncpg and one query": ["-P", "-c", _QUERY],
    "and click": ["-P", "-c", f"import click\n{_QUERY}"],
    "and pydantic_settings": ["-P", "-c", _LIBRARIES],
    "embedq-tui --help": [*_COMMAND, "--help"],
    "embedq-tui status": [*_COMMAND, "status"],
    "embedq-tui health --json": [*_COMMAND, "health", "--json"],
    "embedq-tui metrics": [*_COMMAND, "metrics"],
}
"""What is started; the fifth loads what reads our settings too, with the garbage collector at work."""


def run(arguments: list[str], environment: dict[str, str], folder: str) -> tuple[float, float]:
    """Start a program and wait for its end.

    Returns:
        CPU and wall seconds.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), perf_counter()
    subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=folder, check=True, stdout=subprocess.DEVNULL
    )
    wall, after = perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


async def measure(rounds: int) -> Startup:
    """Measure all cases in turn, again and again; the first round warms up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    async with scratch_database() as settings:
        assert settings.database_url is not None
        environment = os.environ | {
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'worker'}",
        }
        with tempfile.TemporaryDirectory(prefix="embedq-bench-") as folder:  # where no .env is
            for _ in range(rounds + 1):
                for name, arguments in CASES.items():
                    times[name].append(run(arguments, environment, folder))
    return Startup(cases={name: pairs[1:] for name, pairs in times.items()})
