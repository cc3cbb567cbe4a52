"""Versions for bug reports, read from package metadata: no library is imported for it."""

from __future__ import annotations

import asyncio
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from embedq_worker import __version__
from embedq_worker.process.running import run

if TYPE_CHECKING:
    from embedq_tui.invocation import Invocation

PACKAGES = ("textual", "asyncpg")
CONNECT_WITHIN_S = 2.0


def versions(invocation: Invocation) -> list[str]:
    """One line each: this program, Python, the libraries, and PostgreSQL if it answers.

    Args:
        invocation: Says which database; one that is unreachable or not configured is reported as such.
    """
    ours = [f"embedq-tui, version {__version__}", f"Python {platform.python_version()}"]
    libraries = [f"{name} {version_of(name)}" for name in PACKAGES]
    return [*ours, *libraries, f"PostgreSQL {_server(invocation)}"]


def version_of(package: str) -> str:
    """The installed version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _server(invocation: Invocation) -> str:
    from embedq_worker.errors import EmbedqError

    try:
        return run(_ask(invocation))
    except (EmbedqError, TimeoutError):
        return "not connected"


async def _ask(invocation: Invocation) -> str:
    from embedq_worker.database.connections import connected

    settings = invocation.settings()
    async with asyncio.timeout(CONNECT_WITHIN_S), connected(settings) as connection:
        return f"{connection.get_settings().server_version.split()[0]} at {settings.place}"
