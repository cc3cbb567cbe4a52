"""Break everything that can break, at random moments, for a bounded time: ``make soak``.

    python -m tests.soak [--minutes N] [--seed S] [--only FAULT] [--into PAGE]

A round for each fault alone, then rounds with several at once; each in a fresh database, on a PostgreSQL of
its own. After each the oracle is asked (tests/support/oracle). Exit code 1 where anything was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import random
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from embedq_worker import __version__
from tests.soak import report
from tests.soak.faults import FAULTS, Fault
from tests.soak.rounds import Round, play
from tests.support.clocks import faketime
from tests.support.crashing import crashing_server
from tests.support.postgres import embedded_binaries

SHARE = 0.55
"""Of the time that faults strike; the rest is for beginnings, drains and judgement."""

MIXED = 4
"""Rounds in which workers are killed and four other things happen, all at once."""

MIXED_WEIGHT = 2.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak.

    Args:
        arguments: Command line; None for that of this process.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Break everything for a while.")
    parser.add_argument("--minutes", type=float, default=18.0, help="about how long in all (18)")
    parser.add_argument("--seed", type=int, help="of the choices; their moments differ from run to run")
    parser.add_argument("--only", metavar="FAULT", help="rounds of the faults named like this, no others")
    parser.add_argument("--into", metavar="PAGE", type=Path, help="write the table into this page too")
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    chosen = [fault for fault in FAULTS if not options.only or options.only in fault.name]
    if not chosen:
        parser.error(f"no fault is named like {options.only!r}: {', '.join(fault.name for fault in FAULTS)}")
    print(f"seed {seed}; clocks are shifted by {faketime() or 'sitecustomize'}", flush=True)
    began = time.monotonic()
    version, rounds = asyncio.run(_soak(chosen, options.minutes, seed, mixed=not options.only))
    minutes = (time.monotonic() - began) / 60
    only = f" --only {shlex.quote(options.only)}" if options.only else ""
    command = f"python -m tests.soak --minutes {options.minutes:g} --seed {seed}{only}"
    text = (
        f"{report.table(rounds)}\n\n{report.summary(rounds)}\n\n"
        f"`{command}`, {minutes:.0f} minutes; embedq {__version__}, PostgreSQL {version}, Python "
        f"{platform.python_version()}, {platform.system()} {platform.machine()}, {time.strftime('%Y-%m-%d')}."
    )
    print(f"\n{text}")
    if options.into:
        report.put_into(options.into, text)
    return int(any(played.findings for played in rounds))


def _plan(
    chosen: Sequence[Fault], minutes: float, chance: random.Random, *, mixed: bool
) -> Iterator[tuple[Sequence[Fault], float]]:
    """Rounds and the seconds of each."""
    several = [[chosen[0], *chance.sample(chosen[1:], 4)] for _ in range(MIXED)] if mixed else []
    total = sum(fault.weight for fault in chosen) + MIXED_WEIGHT * len(several)
    second = minutes * 60 * SHARE / total
    for fault in chosen:
        yield [fault], fault.weight * second
    for together in several:
        yield together, MIXED_WEIGHT * second


async def _soak(
    chosen: Sequence[Fault], minutes: float, seed: int, *, mixed: bool
) -> tuple[int, list[Round]]:
    """The server's major version, and what was played on it."""
    chance = random.Random(seed)
    rounds: list[Round] = []
    async with crashing_server(embedded_binaries()) as server:
        for faults, seconds in _plan(chosen, minutes, chance, mixed=mixed):
            began = time.monotonic()
            played = await play(server, faults, seconds, chance)
            rounds.append(played)
            _tell(played, time.monotonic() - began)
        return server.server.version, rounds


def _tell(played: Round, seconds: float) -> None:
    names = ", ".join(f"{name} {times}" for name, times in played.times.items())
    print(
        f"{seconds:4.0f} s  {names or played.faults[0].name}; {played.completed} completed, "
        f"{played.articles} articles, drained in {played.drain_s:.0f} s, "
        f"longest recovery {max(played.recoveries, default=0):.1f} s, {len(played.findings)} wrong",
        flush=True,
    )
    for note in played.notes[:8]:
        print(f"        note: {note}", flush=True)
    for finding in played.findings[:12]:
        print(f"        WRONG: {finding}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
