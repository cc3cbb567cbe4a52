"""The soak itself: what it counts is what happened; and a short round of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.soak import report
from tests.soak.__main__ import main
from tests.soak.faults import FAULTS, Fault
from tests.soak.rounds import Round, Strike, recoveries
from tests.support.oracle import Finding, Kind
from tests.support.oracle.claims import Move

START = datetime(2026, 1, 1, tzinfo=UTC)
NOBODY = (None, None, None)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def history(*steps: tuple[float, UUID, str, str]) -> list[Move]:
    return [
        Move(place, at(seconds), place, "embedq-worker", task, 1, was, now, NOBODY, NOBODY, None)
        for place, (seconds, task, was, now) in enumerate(steps)
    ]


def test_recovery_lasts_until_what_was_in_hand_is_settled_and_more_is_done() -> None:
    held, other = uuid4(), uuid4()
    moves = history(
        (1, held, "pending", "processing"),
        (2, other, "pending", "processing"),
        (3, other, "processing", "completed"),
        (6, held, "processing", "pending"),
        (7, held, "pending", "processing"),
        (8, held, "processing", "completed"),
    )
    assert recoveries(moves, [at(0), at(2.5), at(5), at(6.5), at(9)]) == [3, 3.5, 3, 1.5, 0]


def a_round(*faults: Fault, findings: Sequence[Finding] = (), longest_s: float = 1.0) -> Round:
    strikes = [Strike(fault.name, 3, START) for fault in faults]
    return Round(faults, strikes, list(findings), [0.5, longest_s], completed=10, articles=5, workers=4)


def test_the_table_has_a_line_for_each_fault_and_one_for_several_at_once(tmp_path: Path) -> None:
    lost = [Finding(Kind.MISSING, "article 1"), Finding(Kind.UNDONE, "task 2")]
    wrong = [Finding(Kind.INTRUDER, "task 3"), Finding(Kind.STALE, "article 4"), Finding(Kind.COUNTS, "x")]
    rounds = [
        a_round(FAULTS[0], findings=lost, longest_s=7.25),
        a_round(FAULTS[1], findings=wrong),
        a_round(*FAULTS[:3]),
        a_round(*FAULTS[:2]),
    ]
    lines = report.table(rounds).splitlines()[2:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells == [
        [FAULTS[0].name, "3", "2", "0", "0", "7.2 s"],
        [FAULTS[1].name, "3", "0", "1", "1", "1.0 s"],
        [report.TOGETHER, "15", "0", "0", "0", "1.0 s"],
    ]
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.put_into(page, "new")
    assert page.read_text() == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"


@pytest.mark.slow
@pytest.mark.pgvector
@pytest.mark.parametrize("fault", ["workers killed", "terminated", "edited", "psql"])
def test_a_short_soak_finds_nothing(fault: str) -> None:
    assert main(["--minutes", "0.2", "--seed", "3", "--only", fault]) == 0
