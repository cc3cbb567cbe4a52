"""How a command asks the database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import DirectConnection, connected
from embedq_worker.process.running import run

T = TypeVar("T")


def ask(settings: Settings, question: Callable[[DirectConnection], Awaitable[T]]) -> T:
    """Ask over a connection of its own.

    Raises:
        EmbedqError: See `connected`.
    """

    async def asked() -> T:
        async with connected(settings) as connection:
            return await question(connection)

    return run(asked())
