"""What a screen wants to know: a question is asked again and again while its screen is shown."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Generic, NamedTuple, TypeVar

from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.errors import EmbedqError

T = TypeVar("T")

TASKS, WORKERS, CONTROL, PROVIDER = "tasks", "workers", "control", "provider"
"""Topics of the database's notifications."""


class Question(ABC, Generic[T]):
    """A question to the database. Equal questions are asked once: subclasses are frozen dataclasses.

    Attributes:
        hears: Notifications after which the answer may have changed.
        pause_s: Minimum seconds between two answers, so that bursts are merged.
        every_s: Maximum seconds between two answers, for changes without a notification.
        within_s: Seconds an answer may take.
    """

    hears: frozenset[str] = frozenset({TASKS})
    pause_s: float = 0.5
    every_s: float = 10.0
    within_s: float = 20.0

    @property
    def old_s(self) -> float:
        """Age in seconds from which an answer is overdue: the database is slow, or hangs, or is locked."""
        return 2 * (self.pause_s + self.every_s)

    @abstractmethod
    async def ask(self, connection: Connection, settings: Settings) -> T:
        """Ask it once.

        Raises:
            EmbedqError, one of `failures.EXPECTED_ERRORS`: It failed.
        """


class Answer(NamedTuple, Generic[T]):
    """The answer to a question.

    Attributes:
        question: As asked.
        value: None if it failed.
        error: Why it failed.
        at: When it was asked, by `time.monotonic`: what it tells is at most as old as that.
    """

    question: Question[T]
    value: T | None
    error: EmbedqError | None = None
    at: float = -math.inf
