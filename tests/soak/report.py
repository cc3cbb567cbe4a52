"""The outcome of a soak as a table in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.rounds import Round
from tests.support.oracle.findings import DUPLICATED, LOST, STALE, Finding

BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"
TOGETHER = "several of these together"


@dataclass(slots=True)
class Row:
    """Of the table."""

    times: int = 0
    findings: list[Finding] = field(default_factory=list)
    longest_s: float = 0.0


def table(rounds: Sequence[Round]) -> str:
    """Faults, how often, and what came of them; rounds with several faults are one line."""
    rows: dict[str, Row] = {}
    for played in rounds:
        name = played.faults[0].name if len(played.faults) == 1 else TOGETHER
        row = rows.setdefault(name, Row())
        row.times += played.times.total()
        row.findings += played.findings
        row.longest_s = max([row.longest_s, *played.recoveries])
    lines = [
        "| fault | times | lost | duplicated | stale | longest recovery |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {name} | {row.times:,} | {_count(row.findings, LOST)} | {_count(row.findings, DUPLICATED)} "
        f"| {_count(row.findings, STALE)} | {row.longest_s:.1f} s |"
        for name, row in rows.items()
    ]
    return "\n".join(lines)


def summary(rounds: Sequence[Round]) -> str:
    """What the table does not say."""
    times: Counter[str] = Counter()
    for played in rounds:
        times += played.times
    kills = sum(number for name, number in times.items() if name.startswith("workers killed"))
    others = sum(
        finding.kind not in LOST | DUPLICATED | STALE for played in rounds for finding in played.findings
    )
    workers, completed, articles = (
        sum(getattr(played, name) for played in rounds) for name in ("workers", "completed", "articles")
    )
    return (
        f"{len(rounds)} rounds, {workers:,} workers started, {kills:,} of them killed; {completed:,} tasks "
        f"completed, {articles:,} articles checked. Illegal states or histories, wrong counts, attempts "
        f"charged without cause: {others}."
    )


def put_into(path: Path, text: str) -> None:
    """Replace what stands between the marks in a page.

    Args:
        path: Of the page.
        text: Markdown.
    """
    page = path.read_text("utf-8")
    head, _, rest = page.partition(BEGIN)
    _, mark, tail = rest.partition(END)
    if not mark:
        raise SystemExit(f"{path} has no {BEGIN} and {END}")
    path.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", "utf-8")


def _count(findings: Iterable[Finding], kinds: Iterable[object]) -> int:
    return sum(finding.kind in set(kinds) for finding in findings)
