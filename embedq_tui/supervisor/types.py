"""The data of a supervised worker: its state, how it ended."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from embedq_worker.backoff import Backoff


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


class LastExit(NamedTuple):
    """How the last run of the worker ended.

    Attributes:
        code: Exit code, or the negative number of the signal that ended it.
        ran_s: Seconds it ran.
    """

    code: int
    ran_s: float

    def describe(self) -> str:
        """In words: ``exit code 1``, ``killed by SIGKILL``."""
        return f"exit code {self.code}" if self.code >= 0 else f"killed by {_name_of(-self.code)}"


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
