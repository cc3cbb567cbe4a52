"""How a command asks the database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from embedq_tui.commands.output import waiting
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import DirectConnection, connected
from embedq_worker.process.running import run
from embedq_worker.waits import beside

T = TypeVar("T")

SOON_S = 0.5
"""Seconds that an answer may take before the operator is shown that the command is waiting for it."""


def ask(
    settings: Settings, question: Callable[[DirectConnection], Awaitable[T]], *, own_progress: bool = False
) -> T:
    """Ask over a connection of its own; on a terminal, a line says so while the answer takes long.

    Args:
        settings: Where the database is.
        question: Writes nothing.
        own_progress: The question, or its caller, shows how far it is.

    Raises:
        EmbedqError: See `connected`.
    """

    async def asked() -> T:
        async with connected(settings) as connection:
            return await question(connection)

    return run(asked() if own_progress else patiently(asked()))


async def patiently(work: Awaitable[T]) -> T:
    """Await what writes nothing; on a terminal, a line shows for how long if that takes long.

    Args:
        work: What to await.

    Raises:
        Exception: What it raises.
    """
    async with beside(_say_waiting()):
        return await work


async def _say_waiting() -> None:
    await asyncio.sleep(SOON_S)
    with waiting():
        await asyncio.Event().wait()
