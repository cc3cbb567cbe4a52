"""What there is to say about a supervised worker: how it is started, what it is doing, how it ended."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic

from embedq_tui.supervisor.process import WorkerChild
from embedq_worker.backoff import Backoff
from embedq_worker.settings import LogLevel

LAST_LINES = 10


class WorkerState(StrEnum):
    """What the supervised worker is doing.

    Attributes:
        OFF: There is none.
        STARTING: Its process runs, it is not connected to its database yet.
        RUNNING: It is.
        STOPPING: It was asked to end.
        WAITING: It crashed, and is started again at `Supervisor.restart_at`.
        FAILED: It crashed too often, or its settings cannot be used: it is not started again.
    """

    OFF = "off"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What a worker is started with beside the settings; None and empty: as the settings say.

    Attributes:
        concurrency: Requests in flight.
        batch_size: Tasks per claim.
        log_level: Least level that comes into the log.
        priorities: Served.
        folders: Served, with those below them.
    """

    concurrency: int | None = None
    batch_size: int | None = None
    log_level: LogLevel | None = None
    priorities: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the supervisor waits for what.

    Attributes:
        grace_s: From SIGTERM to the second signal; None: EMBEDDING_SHUTDOWN_GRACE, after which the worker
            gives back by itself what it has not finished, and a second.
        forced_s: From the second signal to SIGKILL; a worker needs up to five seconds to give back.
        restart: Before a crashed worker is started again.
        crashes: So many in a row are too many.
        steady_s: A run that lasted so long ends the row.
    """

    grace_s: float | None = None
    forced_s: float = 6.0
    restart: Backoff = field(default_factory=lambda: Backoff(1.0, 30.0))
    crashes: int = 5
    steady_s: float = 60.0


@dataclass(frozen=True, slots=True)
class LastExit:
    """How the last run of the worker ended.

    Attributes:
        pid: Of that run.
        code: Exit code; None where a signal ended it.
        signal: Name of the signal that ended it; empty where none did.
        ran_s: Seconds that it ran.
        at: When it ended, of the clock `time.monotonic`.
        asked: We had asked it to end.
        lines: Its last lines.
    """

    pid: int
    code: int | None
    signal: str
    ran_s: float
    at: float
    asked: bool
    lines: tuple[str, ...]

    @classmethod
    def of(cls, child: WorkerChild, *, asked: bool, lines: Sequence[str]) -> LastExit:
        """The end of a run.

        Args:
            child: Which has ended.
            asked: We had asked it to end.
            lines: What it wrote.
        """
        code = child.returncode
        assert code is not None
        now = monotonic()
        return cls(
            pid=child.pid,
            code=code if code >= 0 else None,
            signal=_name_of(-code) if code < 0 else "",
            ran_s=now - child.started_at,
            at=now,
            asked=asked,
            lines=tuple(lines[-LAST_LINES:]),
        )

    def describe(self) -> str:
        """In words: ``exit code 1``, ``killed by SIGKILL``."""
        return f"killed by {self.signal}" if self.signal else f"exit code {self.code}"


def overrides(options: WorkerOptions) -> dict[str, object]:
    """The settings that options replace, by field name."""
    given = {
        "concurrency": options.concurrency,
        "batch_size": options.batch_size,
        "log_level": options.log_level,
        "log_format": "text",  # for people, and not coloured: it is no terminal
    }
    return {name: value for name, value in given.items() if value is not None}


def arguments(options: WorkerOptions) -> list[str]:
    """What of the options goes to the command line; it is no secret."""
    priorities = [f"--priority={priority}" for priority in options.priorities]
    return priorities + [f"--folder={folder}" for folder in options.folders]


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
