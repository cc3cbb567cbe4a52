"""Checks claim.pml with SPIN: the rules hold in every run of the small cases, and each rule is needed.

    python -m tests.model.check          seconds
    python -m tests.model.check --long   minutes: larger cases

Needs `spin` and `gcc`; on Debian and Ubuntu: apt-get install spin gcc.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

MODEL = Path(__file__).with_name("claim.pml")
PROGRAMS = ("spin", "gcc")

CASES = (
    "SAVES=1 SLOTS=2 FAULTS=3",
    "SAVES=1 SLOTS=2 FAULTS=3 SHARED",
    "SAVES=2 SLOTS=2 FAULTS=1",
)
"""Small enough for a few seconds each."""

LONG_CASES = (
    "SAVES=1 SLOTS=3 FAULTS=3 SHARED",
    "SAVES=1 SLOTS=2 FAULTS=6",
    "SAVES=2 SLOTS=2 FAULTS=2",
    "SAVES=2 SLOTS=2 FAULTS=2 SHARED",
)

MUTATIONS = (
    "NO_FENCE",
    "NO_TOKEN",
    "NO_INSTANT",
    "NO_COMPARE",
    "NO_ALONE",
    "COALESCE_ALL",
    "NO_COALESCE",
    "NO_ORDER",
    "NO_RESCUE",
)
"""Rules taken away, one at a time."""

_STATES = re.compile(r"^\s*(\d+) states, stored", re.MULTILINE)
_WRONG = re.compile(r"^pan:\d+: (.*) \(at depth \d+\)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What SPIN says of a case.

    Attributes:
        states: Looked at.
        wrong: What is violated first; empty where nothing is in any run.
    """

    states: int
    wrong: str


def missing() -> list[str]:
    """The programs that are needed and not there."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def check(case: str, *, within_s: float = 900.0) -> Verdict:
    """Look at every state of a case.

    Args:
        case: Macros of the model, such as ``SAVES=1 SHARED``.
        within_s: Seconds to give it.

    Raises:
        subprocess.SubprocessError: A program failed, or took too long.
        ValueError: Not every state was looked at.
    """
    macros = [f"-D{macro}" for macro in case.split()]
    with TemporaryDirectory(prefix="embedq-model-") as folder:
        _run(["spin", *macros, "-a", str(MODEL)], folder, 60.0)
        _run(["gcc", "-O2", "-w", "-DSAFETY", "-DCOLLAPSE", "-o", "pan", "pan.c"], folder, 120.0)
        said = _run(["./pan", "-m100000", "-w24"], folder, within_s)
    states, wrong = _STATES.search(said), _WRONG.search(said)
    if states is None or "truncated" in said or "max search depth too small" in said:
        raise ValueError(f"{case}: not every state was looked at:\n{said}")
    return Verdict(int(states[1]), wrong[1] if wrong else "")


def _run(command: Sequence[str], folder: str, within_s: float) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=within_s, check=True)
    return done.stdout


def main() -> int:
    """Check all cases and all mutations.

    Returns:
        Exit code: 0 where the rules hold and each is needed.
    """
    parser = argparse.ArgumentParser(description="Check the model of the claim protocol.")
    parser.add_argument("--long", action="store_true", help="larger cases too")
    arguments = parser.parse_args()
    if names := missing():
        print(
            f"{' and '.join(names)} not found; on Debian and Ubuntu: apt-get install spin gcc",
            file=sys.stderr,
        )
        return 1
    wrong = 0
    for case in (*CASES, *(LONG_CASES if arguments.long else ())):
        verdict = check(case)
        wrong += bool(verdict.wrong)
        print(f"{case:40}{verdict.states:12,} states  {verdict.wrong or 'holds'}", flush=True)
    for mutation in MUTATIONS:
        verdict = check(f"{CASES[0]} {mutation}")
        wrong += not verdict.wrong
        print(
            f"without a rule: {mutation:24}{verdict.states:12,} states  {verdict.wrong or 'NOT FOUND OUT'}",
            flush=True,
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
