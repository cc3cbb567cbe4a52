"""What a screen wants to know: a question stands while its screen is shown, and is asked again and again."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Generic, NamedTuple, TypeVar

from embedq_worker.database.connections import Connection
from embedq_worker.errors import EmbedqError
from embedq_worker.settings import Settings

T = TypeVar("T")

TASKS, WORKERS, CONTROL, PROVIDER = "tasks", "workers", "control", "provider"
"""What a signal of the database can be about."""


class Question(ABC, Generic[T]):
    """A question to the database. Equal questions are one; a frozen dataclass is what it should be.

    Attributes:
        hears: Signals after which the answer may be another.
        pause_s: Seconds between two answers at least, so that bursts are merged.
        every_s: Seconds between two at most, for what no signal tells.
        within_s: Seconds an answer may take.
    """

    hears: ClassVar[frozenset[str]] = frozenset({TASKS})
    pause_s: ClassVar[float] = 0.5
    every_s: ClassVar[float] = 10.0
    within_s: ClassVar[float] = 20.0

    @abstractmethod
    async def ask(self, connection: Connection, settings: Settings) -> T:
        """Ask it once.

        Raises:
            EmbedqError, one of `failures.EXPECTED_ERRORS`: There is no answer.
        """


class Answer(NamedTuple, Generic[T]):
    """What came back.

    Attributes:
        question: As it was asked.
        value: None where it failed.
        error: Why it did.
        at: Of the clock `time.monotonic`.
    """

    question: Question[T]
    value: T | None
    error: EmbedqError | None = None
    at: float = -math.inf
