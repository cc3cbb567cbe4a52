"""The data of a supervised worker: its options, its state, how it ended."""

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
    """The state of the supervised worker.

    Attributes:
        OFF: There is none.
        STARTING: Its process is running but not yet connected to the database.
        RUNNING: It is connected and working.
        STOPPING: It was asked to stop.
        WAITING: It crashed and will be restarted at `Supervisor.restart_at`.
        FAILED: It crashed too often, or its settings are invalid; it will not be restarted.
    """

    OFF = "off"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Options that override the settings of a worker; None or empty to keep the settings.

    Attributes:
        concurrency: Batches processed at once.
        batch_size: Tasks per claim.
        log_level: Minimum level to log.
        priorities: Priorities to serve.
        folders: Folders to serve, with their subfolders.
    """

    concurrency: int | None = None
    batch_size: int | None = None
    log_level: LogLevel | None = None
    priorities: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Patience:
    """The supervisor's timeouts and limits.

    Attributes:
        grace_s: Seconds from SIGTERM to the second signal; None for one second more than
            EMBEDDING_SHUTDOWN_GRACE, after which the worker releases unfinished tasks by itself.
        forced_s: Seconds from the second signal to SIGKILL; a worker needs up to five to release its tasks.
        restart: Delays before a crashed worker is restarted.
        crashes: Number of consecutive crashes after which it is not restarted.
        steady_s: Seconds after which a run counts as successful and resets the crash count.
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
        pid: Its process id.
        code: Exit code; None if a signal ended it.
        signal: Name of the signal that ended it; empty if none did.
        ran_s: Seconds it ran.
        at: When it ended, by `time.monotonic`.
        asked: We had asked it to stop.
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
        """Describe the end of a run.

        Args:
            child: The ended child.
            asked: We had asked it to stop.
            lines: Its output.
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
    """The settings that options override, by field name."""
    given = {
        "concurrency": options.concurrency,
        "batch_size": options.batch_size,
        "log_level": options.log_level,
        "log_format": "text",  # readable, and without colours as it is not a terminal
    }
    return {name: value for name, value in given.items() if value is not None}


def arguments(options: WorkerOptions) -> list[str]:
    """The options that go on the command line; none of them is secret."""
    priorities = [f"--priority={priority}" for priority in options.priorities]
    return priorities + [f"--folder={folder}" for folder in options.folders]


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
