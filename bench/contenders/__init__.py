"""Those who are measured beside each other, each behind the same door, each at its best setting."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Protocol, TypeAlias

Gate: TypeAlias = Callable[[], Awaitable[None]]
"""Says that everything is loaded and connected, and waits for the word to begin."""

Started: TypeAlias = Callable[[], None]
"""Called when the processing of a job starts."""

NAMES = ("floor", "bare", "embedq", "pgqueuer", "awa", "procrastinate")
"""Modules of this package; what is not installed is left out, and the result says so."""


class Contender(Protocol):
    """One way to have jobs in PostgreSQL and to work them off.

    Attributes:
        setting: Its best setting, in words.
        insert: SQL that queues one job, as another program would.
    """

    setting: str
    insert: str

    async def prepare(self, url: str) -> None:
        """Make the tables in an empty database."""

    async def enqueue(self, url: str, jobs: int) -> float:
        """Queue jobs through its programming interface; seconds."""

    async def drain(self, url: str, gate: Gate) -> float:
        """Do all jobs with one worker in this process; seconds from first claim to last completion."""

    async def serve(self, url: str, started: Started) -> None:
        """Work until cancelled."""


def contender(name: str) -> Contender:
    """One of `NAMES`.

    Raises:
        ImportError: Its package is not installed.
    """
    made: Contender = import_module(f"bench.contenders.{name}").CONTENDER
    return made
