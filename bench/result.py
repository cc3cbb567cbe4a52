"""The result of a run as it is kept: raw numbers, with what is needed to judge and to repeat them."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, Field

FOLDER = Path(__file__).resolve().parent / "results"
FILE = FOLDER / "performance.json"
"""What docs/performance.md is made from."""

PACKAGES = ("asyncpg", "pgqueuer", "procrastinate", "awa-pg", "textual", "httpx")


class Cost(BaseModel):
    """What some work took.

    Attributes:
        jobs: Tasks or articles done.
        seconds: Wall time.
        worker_cpu_s: Of the process that did them.
        server_cpu_s: Of PostgreSQL meanwhile; None where it is on another machine.
        wal_bytes: Written meanwhile.
        enqueue_s: Wall time of queueing them, where that was measured.
        requests: To the provider, where there was one.
    """

    jobs: int
    seconds: float
    worker_cpu_s: float
    server_cpu_s: float | None = None
    wal_bytes: int
    enqueue_s: float | None = None
    requests: int | None = None

    @property
    def rate(self) -> float:
        """Jobs per second."""
        return self.jobs / self.seconds

    @property
    def cpu_us(self) -> float | None:
        """CPU per job, worker and server together."""
        if self.server_cpu_s is None:
            return None
        return (self.worker_cpu_s + self.server_cpu_s) / self.jobs * 1e6


class Engine(BaseModel):
    """Queues of no-op jobs worked off by one process.

    Attributes:
        settings: By contender, in words.
        missing: Those that are not installed.
        rounds: Costs by contender; of one round they were measured one after the other.
    """

    settings: dict[str, str]
    missing: list[str]
    rounds: list[dict[str, Cost]]


class Latency(BaseModel):
    """From the insertion of a task by plain SQL to the start of its processing, on an idle queue.

    Attributes:
        rounds: Milliseconds by contender; one task each, one after the other, in every round.
    """

    rounds: list[dict[str, float]]


class Step(BaseModel):
    """A step beside few and beside many rows.

    Attributes:
        small: Milliseconds beside few rows, by round.
        big: The same beside many.
        rows_small: Rows of the big tables that it fetched by index beside few.
        rows_big: The same beside many.
        seq_scans: Whole tables that it read beside many.
        sorted_rows: Most rows that a sort of a statement took beside many; None for what functions do inside.
    """

    small: list[float]
    big: list[float]
    rows_small: int
    rows_big: int
    seq_scans: int
    sorted_rows: int | None = None


class Flat(BaseModel):
    """What each step costs beside few and beside many rows, in turns."""

    small_rows: int
    big_rows: int
    load_s: float
    counts_exact: bool
    steps: dict[str, Step]


class Pipeline(BaseModel):
    """Articles embedded through a provider that takes its time.

    Attributes:
        ideal_s: Requests one after the other in every slot, nothing else.
        rounds: By contender: ``client`` does nothing but ask, ``embedq`` does all.
        unchanged_requests: To the provider, for all articles again.
    """

    articles: int
    chunks: int
    ideal_s: float
    settings: dict[str, str]
    rounds: list[dict[str, Cost]]
    unchanged_requests: list[int]


class Scaling(BaseModel):
    """Rates of several processes.

    Attributes:
        rounds: Jobs per second by contender and number of processes.
        provider_rounds: Articles per second by number of processes, where the provider is the limit.
    """

    rounds: list[dict[str, dict[int, float]]]
    provider_rounds: list[dict[int, float]]


class Console(BaseModel):
    """The console on a real terminal.

    Attributes:
        frames: Seconds to the first full frame: ours, and a trivial Textual app right before.
        libraries_s: The same of a trivial app that imports the console's libraries, in the same rounds.
        quiet_cpu: Share of a core.
        busy_cpu: The same at 1,000 tasks a second.
        quiet_ms: From a commit to the screen.
        busy_ms: The same at 1,000 tasks a second.
        quiet_mb: Memory.
        busy_mb: The same at 1,000 tasks a second.
    """

    frames: list[tuple[float, float]]
    libraries_s: list[float] = []
    quiet_cpu: float
    busy_cpu: float
    quiet_ms: list[float]
    busy_ms: list[float]
    quiet_mb: float
    busy_mb: float


class Startup(BaseModel):
    """CPU and wall seconds of commands, by case and round."""

    cases: dict[str, list[tuple[float, float]]]


class Taken(BaseModel):
    """When and where a section was measured."""

    at: datetime = Field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    load_before: float = Field(default_factory=lambda: os.getloadavg()[0])
    load_after: float | None = None


class Result(BaseModel):
    """A run."""

    machine: dict[str, str] = Field(default_factory=lambda: machine())
    versions: dict[str, str] = Field(default_factory=lambda: versions())
    server: dict[str, str] = Field(default_factory=dict)
    taken: dict[str, Taken] = Field(default_factory=dict)
    engine: Engine | None = None
    latency: Latency | None = None
    flat: Flat | None = None
    pipeline: Pipeline | None = None
    scaling: Scaling | None = None
    console: Console | None = None
    startup: Startup | None = None


def load(file: Path = FILE) -> Result:
    """A result from its file."""
    return Result.model_validate_json(file.read_text())


def save(result: Result, file: Path = FILE) -> None:
    """Write a result to its file."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(result.model_dump_json(indent=1, exclude_none=True) + "\n")


def machine() -> dict[str, str]:
    """What this is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def versions() -> dict[str, str]:
    """Of what is measured."""
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
