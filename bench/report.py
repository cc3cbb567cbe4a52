"""docs/performance.md from the raw numbers: ``python -m bench.report``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from string import Template
from typing import TypeVar

from bench.result import Cost, Latency, Result, Scaling, Step, load

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
PROSE = Path(__file__).resolve().parent / "performance.template.md"
"""The prose; the tables are inserted into it."""

T = TypeVar("T")

_FLOOR, _OURS, _PEER = "floor", "embedq", "pgqueuer"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and its aim."""

    name: str
    aim: str
    measured: str
    reached: bool

    @property
    def line(self) -> str:
        """A line of the table."""
        return f"| {self.name} | {self.aim} | {self.measured} | {'yes' if self.reached else '**no**'} |"


def write() -> None:
    """Write the page."""
    PAGE.write_text(render(load()))


def render(result: Result) -> str:
    """The page of a result that has all sections."""
    tables = {
        "figures": "\n".join(figure.line for figure in figures(result)),
        "taken": _taken(result),
        "engine": "\n".join(_engine(result)),
        "latency": "\n".join(_latency(result)),
        "flat": "\n".join(_flat(result)),
        "pipeline": "\n".join(_pipeline(result)),
        "scaling": "\n".join(_scaling(result)),
        "console": "\n".join(_console(result)),
        "startup": "\n".join(_startup(result)),
    }
    return Template(PROSE.read_text()).substitute(tables)


def figures(result: Result) -> list[Figure]:
    """All figures, in the order of their importance for a queue."""
    return [
        *_engine_figures(result),
        *_latency_figures(result),
        *_flat_figures(result),
        *_pipeline_figures(result),
        *_scaling_figures(result),
        *_console_figures(result),
        *_startup_figures(result),
    ]


# -- figures


def _engine_figures(result: Result) -> Iterator[Figure]:
    rounds = _of(result.engine).rounds
    share = _median(one[_OURS].rate / one[_FLOOR].rate for one in rounds)
    yield Figure("1 drain rate, relative to the floor", "0.6 or more", f"{share:.2f}", share >= 0.6)
    if all(_PEER in one for one in rounds):
        times = _median(one[_OURS].rate / one[_PEER].rate for one in rounds)
        yield Figure("1 drain rate, relative to PgQueuer", "2.5 or more", f"{times:.2f}", times >= 2.5)
        queued = _median(_enqueued(one[_OURS]) / _enqueued(one[_PEER]) for one in rounds)
        yield Figure("1 queueing rate, relative to PgQueuer", "1 or more", f"{queued:.2f}", queued >= 1)


def _latency_figures(result: Result) -> Iterator[Figure]:
    latency = _of(result.latency)
    p50 = _percentile(latency, _OURS, 50) / _percentile(latency, _FLOOR, 50)
    yield Figure("2 pickup p50, relative to the floor", "under 1.5", f"{p50:.2f}", p50 < 1.5)
    if _PEER in latency.rounds[0]:
        ours, theirs = _percentile(latency, _OURS, 99), _percentile(latency, _PEER, 99)
        yield Figure(
            "2 pickup p99", "under PgQueuer's", f"{ours:.1f} ms, PgQueuer {theirs:.1f} ms", ours < theirs
        )


def _flat_figures(result: Result) -> Iterator[Figure]:
    flat = _of(result.flat)
    steps = {name: _ratio(step) for name, step in flat.steps.items()}
    worst = max(steps, key=lambda name: steps[name])
    over = sum(ratio > 1.2 for ratio in steps.values())
    yield Figure(
        f"3 cost of each step at {flat.big_rows:,} rows, relative to {flat.small_rows:,}",
        "within 1.2",
        f"{len(steps) - over} of {len(steps)} steps; worst {steps[worst]:.2f} ({worst})",
        not over,
    )
    scans = sum(step.seq_scans for step in flat.steps.values())
    sorts = max(step.sorted_rows or 0 for step in flat.steps.values())
    exact = "counts exact" if flat.counts_exact else "counts wrong"
    yield Figure(
        "3 plans at that size",
        "no full scan or sort of the table, counts exact",
        f"{scans} full scans, at most {sorts} rows sorted, {exact}",
        not scans and sorts < 1_000 and flat.counts_exact,
    )


def _pipeline_figures(result: Result) -> Iterator[Figure]:
    pipeline = _of(result.pipeline)
    times = _median(one[_OURS].seconds / one["client"].seconds for one in pipeline.rounds)
    yield Figure(
        "4 time for articles through a slow provider, relative to a bare client",
        "under 1.25",
        f"{times:.2f}",
        times < 1.25,
    )
    asked = max(pipeline.unchanged_requests)
    yield Figure("4 requests for unchanged articles", "none", str(asked), not asked)


def _scaling_figures(result: Result) -> Iterator[Figure]:
    scaling = _of(result.scaling)
    for processes in (2, 4):
        ours, floor = _scaled(scaling, _OURS, processes), _scaled(scaling, _FLOOR, processes)
        yield Figure(
            f"5 rate of {processes} processes, relative to one",
            f"{floor:.2f} or more, as the floor",
            f"{ours:.2f}",
            ours >= floor,
        )
    limited = _median(one[2] / one[1] for one in scaling.provider_rounds)
    yield Figure(
        "5 rate of two processes, relative to one, provider-bound",
        "1.8 or more",
        f"{limited:.2f}",
        limited >= 1.8,
    )


def _console_figures(result: Result) -> Iterator[Figure]:
    console = _of(result.console)
    frame = _median(ours / trivial for ours, trivial in console.frames)
    seconds = f"{_median(ours for ours, _ in console.frames):.2f} s"
    yield Figure(
        "6 first full frame, relative to a trivial Textual app",
        "within 1.3",
        f"{frame:.2f} ({seconds})",
        frame <= 1.3,
    )
    yield Figure(
        "6 CPU, idle", "under 0.5 % of a core", f"{console.quiet_cpu:.2%}", console.quiet_cpu < 0.005
    )
    yield Figure(
        "6 CPU at 1,000 tasks/s", "under 15 % of a core", f"{console.busy_cpu:.1%}", console.busy_cpu < 0.15
    )
    late = max(quantiles(times, n=20)[18] for times in (console.quiet_ms, console.busy_ms))
    yield Figure("6 commit to screen, p95", "under 150 ms", f"{late:.0f} ms", late < 150)
    yield Figure("6 memory", "60 MB or less", f"{console.busy_mb:.1f} MB", console.busy_mb <= 60)


def _startup_figures(result: Result) -> Iterator[Figure]:
    cases = _of(result.startup).cases
    pairs = list(zip(cases["embedq-tui status"], cases["asyncpg and one query"], strict=True))
    wall = _median(ours[1] / base[1] for ours, base in pairs)
    yield Figure(
        "7 `status`, relative to python with asyncpg and one query", "within 2", f"{wall:.2f}", wall <= 2
    )


# -- tables


def _taken(result: Result) -> str:
    when = sorted(taken.at for taken in result.taken.values())
    loads = [load for taken in result.taken.values() for load in (taken.load_before, taken.load_after or 0)]
    facts = [
        f"Measured on {when[0]:%Y-%m-%d}",
        f"{result.machine['processor']}, {result.machine['cores']} cores, {result.machine['memory']}",
        f"PostgreSQL {result.server.get('server_version', '')} on the same machine",
        f"load average from {min(loads):.1f} to {max(loads):.1f} (including the measured programs)",
        ", ".join(f"{name} {number}" for name, number in result.versions.items()),
        "server: " + ", ".join(f"{k} {v}" for k, v in result.server.items() if k != "server_version"),
    ]
    return "; ".join(facts) + "."


def _engine(result: Result) -> Iterator[str]:
    engine = _of(result.engine)
    yield "| | drained/s | vs. floor | CPU per job | of which worker | WAL per job | queued/s | setting |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, setting in engine.settings.items():
        costs = [one[name] for one in engine.rounds]
        share = _median(one[name].rate / one[_FLOOR].rate for one in engine.rounds)
        cpu, worker = (
            _median(cost.cpu_us or 0 for cost in costs),
            _median(c.worker_cpu_s / c.jobs for c in costs),
        )
        yield (
            f"| {name} | {_spread([cost.rate for cost in costs])} | {share:.2f} | {cpu:,.0f} µs "
            f"| {worker * 1e6:,.0f} µs "
            f"| {_median(cost.wal_bytes / cost.jobs for cost in costs):,.0f} B "
            f"| {_median(map(_enqueued, costs)):,.0f} | {setting} |"
        )
    for name in engine.missing:
        yield f"| {name} | not installed here | | | | | | |"


def _latency(result: Result) -> Iterator[str]:
    latency = _of(result.latency)
    yield f"| {len(latency.rounds)} tasks each, alternating | p50 | p90 | p99 | p50 vs. floor |"
    yield "|---|---|---|---|---|"
    for name in latency.rounds[0]:
        cells = (f"{_percentile(latency, name, part):.1f} ms" for part in (50, 90, 99))
        share = _percentile(latency, name, 50) / _percentile(latency, _FLOOR, 50)
        yield f"| {name} | {' | '.join(cells)} | {share:.2f} |"


def _flat(result: Result) -> Iterator[str]:
    flat = _of(result.flat)
    yield f"| | {flat.small_rows:,} rows | {flat.big_rows:,} rows | ratio | rows fetched | tables read |"
    yield "|---|---|---|---|---|---|"
    for name, step in flat.steps.items():
        yield (
            f"| {name} | {median(step.small):.2f} ms | {median(step.big):.2f} ms | {_ratio(step):.2f} "
            f"| {step.rows_small:,}, {step.rows_big:,} | {step.seq_scans} |"
        )


def _pipeline(result: Result) -> Iterator[str]:
    pipeline = _of(result.pipeline)
    title = f"{pipeline.articles:,} articles of {pipeline.chunks} chunks"
    yield f"| {title} | seconds | CPU per article | requests |"
    yield "|---|---|---|---|"
    yield f"| in theory | {pipeline.ideal_s:.2f} | | |"
    for name, setting in pipeline.settings.items():
        costs = [one[name] for one in pipeline.rounds]
        yield (
            f"| {name} ({setting}) | {median(cost.seconds for cost in costs):.2f} "
            f"| {_median(cost.cpu_us or 0 for cost in costs):,.0f} µs | {costs[0].requests} |"
        )


def _scaling(result: Result) -> Iterator[str]:
    scaling = _of(result.scaling)
    yield "| | 1 process | 2 | 4 |"
    yield "|---|---|---|---|"
    for name in (_FLOOR, _OURS):
        rates = (_median(one[name][count] for one in scaling.rounds) for count in (1, 2, 4))
        yield f"| {name} | {' | '.join(f'{rate:,.0f}/s' for rate in rates)} |"
    limited = (_median(one[count] for one in scaling.provider_rounds) for count in (1, 2))
    yield f"| embedq, provider-bound | {' | '.join(f'{rate:,.0f} articles/s' for rate in limited)} | |"


def _console(result: Result) -> Iterator[str]:
    console = _of(result.console)
    trivial_s = [trivial for _, trivial in console.frames]
    programs = {
        "a trivial Textual app": trivial_s,
        "the same, importing asyncpg, click and pydantic-settings": console.libraries_s,
        "embedq-tui, with data": [ours for ours, _ in console.frames],
    }
    yield "| first full frame | seconds | relative |"
    yield "|---|---|---|"
    for name, seconds in programs.items():
        if not seconds:  # a result of an older bench
            continue
        share = _median(one / other for one, other in zip(seconds, trivial_s, strict=True))
        yield f"| {name} | {_median(seconds):.2f} | {share:.2f} |"


def _startup(result: Result) -> Iterator[str]:
    cases = _of(result.startup).cases
    yield "| | CPU | wall | wall, relative to asyncpg and one query |"
    yield "|---|---|---|---|"
    base = cases["asyncpg and one query"]
    for name, pairs in cases.items():
        share = _median(pair[1] / other[1] for pair, other in zip(pairs, base, strict=True))
        cpu, wall = (_median(pair[part] * 1000 for pair in pairs) for part in (0, 1))
        yield f"| `{name}` | {cpu:.0f} ms | {wall:.0f} ms | {share:.2f} |"


# -- arithmetic


def _of(section: T | None) -> T:
    assert section is not None, "not measured yet: python -m bench"
    return section


def _median(values: Iterable[float]) -> float:
    return median(list(values))


def _spread(rates: Sequence[float]) -> str:
    return f"{median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"


def _enqueued(cost: Cost) -> float:
    assert cost.enqueue_s is not None
    return cost.jobs / cost.enqueue_s


def _percentile(latency: Latency, name: str, part: int) -> float:
    return quantiles([one[name] for one in latency.rounds], n=100)[part - 1]


def _ratio(step: Step) -> float:
    return _median(big / small for small, big in zip(step.small, step.big, strict=True))


def _scaled(scaling: Scaling, name: str, processes: int) -> float:
    return _median(one[name][processes] / one[name][1] for one in scaling.rounds)


if __name__ == "__main__":
    write()
