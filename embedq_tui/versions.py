"""Versions for bug reports, read from package metadata: no library is imported for it."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from embedq_worker import __version__
from embedq_worker.process.running import run

if TYPE_CHECKING:
    from embedq_worker.configuration.settings import Settings

PACKAGES = ("textual", "asyncpg")
CONNECT_WITHIN_S = 2.0


def versions(settings: Callable[[], Settings]) -> list[str]:
    """One line each: this program, Python, the libraries, and PostgreSQL if it answers.

    Args:
        settings: Reads the settings, which say where the database is. One that is unreachable or not
            configured is reported as such.
    """
    ours = [f"embedq-tui, version {__version__}", f"Python {platform.python_version()}"]
    libraries = [f"{name} {version_of(name)}" for name in PACKAGES]
    return [*ours, *libraries, f"PostgreSQL {_server(settings)}"]


def version_of(package: str) -> str:
    """The installed version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _server(settings: Callable[[], Settings]) -> str:
    from embedq_worker.errors import EmbedqError

    try:
        return run(_ask(settings))
    except (EmbedqError, TimeoutError):
        return "not connected"


async def _ask(read: Callable[[], Settings]) -> str:
    from embedq_worker.database.connections import connected

    settings = read()
    async with asyncio.timeout(CONNECT_WITHIN_S), connected(settings) as connection:
        return f"{connection.get_settings().server_version.split()[0]} at {settings.place}"
