"""What it costs to start a command, beside what no command can do without: interleaved, CPU and wall time."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

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
"""What is started; the fifth is the floor of whoever reads settings with that library, and looks."""


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


async def main(rounds: int) -> None:
    """Measure all cases in turn, again and again."""
    async with scratch_database() as settings:
        assert settings.database_url is not None
        environment = os.environ | {
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'worker'}",
        }
        with tempfile.TemporaryDirectory(prefix="embedq-bench-") as folder:  # where no .env is
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
            for _ in range(rounds + 1):
                for name, arguments in CASES.items():
                    times[name].append(run(arguments, environment, folder))
    print(f"{'':26} CPU least  median     wall least  median    beside import asyncpg, and one query")
    for name, pairs in times.items():
        cpus, walls = ([pair[place] * 1000 for pair in pairs[1:]] for place in (0, 1))  # the first warms up
        beside = [_ratio(pairs, times[base]) for base in ("import asyncpg", "asyncpg and one query")]
        print(
            f"{name:26} {min(cpus):6.0f} ms {median(cpus):6.0f} ms   "
            f"{min(walls):8.0f} ms {median(walls):6.0f} ms   {beside[0]:20.2f} {beside[1]:13.2f}"
        )


def _ratio(pairs: Sequence[tuple[float, float]], base: Sequence[tuple[float, float]]) -> float:
    """CPU beside that of another case, of the same round: the median over the rounds."""
    return median(one / other for (one, _), (other, _) in zip(pairs[1:], base[1:], strict=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    asyncio.run(main(parser.parse_args().rounds))
