"""How the console is opened, and what it leaves behind on the terminal."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedq_tui.heap import give_back_large, swept
from embedq_tui.invocation import operator
from embedq_tui.output import OutputError, is_terminal, say
from embedq_tui.profiles import Profile, load_profiles
from embedq_worker.errors import UsageError
from embedq_worker.loading import loading
from embedq_worker.waits import beside

if TYPE_CHECKING:
    from embedq_tui.console.app import Console
    from embedq_tui.supervisor.left import LeftWorker
    from embedq_tui.supervisor.types import WorkerOptions
    from embedq_worker.settings import Settings


ENDS_WITHIN_S = 5.0
"""Seconds that whatever is left to be ended may take once the terminal is given back."""


def require_terminal() -> None:
    """Refuse to open the console where nobody could see it.

    Raises:
        UsageError: There is no terminal.
    """
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):  # Textual draws on standard error
        raise UsageError("the console needs a terminal", "embedq-tui --help lists commands that need none")


def open_console(
    *,
    profile: str = "",
    env_file: Path | None = None,
    read_only: bool = False,
    settings: Settings | None = None,
    worker: WorkerOptions | None = None,
    companion: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> int:
    """Show the console until the operator ends it.

    Args:
        profile: Name of the database in the file of profiles; empty for that of the environment.
        env_file: File of settings that was named.
        read_only: Nothing is to be changed.
        settings: Of a database that was found otherwise.
        worker: A worker is started with these at once.
        companion: Runs beside the console until it ends.

    Returns:
        The exit code.

    Raises:
        EmbedqError: There is no terminal, or a setting cannot be used.
    """
    require_terminal()
    give_back_large()
    os.umask(0o077)  # what is exported, drawn and kept here is the operator's alone
    profiles = load_profiles()
    chosen = profiles.find(profile) if profile else Profile()
    settings = settings or chosen.settings(env_file)
    with loading():
        from embedq_tui.console.app import Console
        from embedq_tui.console.options import Options

    if profiles.keys:
        from embedq_tui.console.keys import check_keymap

        check_keymap(profiles.keys)
    options = Options(
        operator(),
        read_only=read_only,
        profiles=profiles,
        env_file=env_file,
        keymap=profiles.keys,
        worker=worker,
        companion=companion,
    )
    console = Console(settings, chosen, options)
    code = _run(console)
    if console.supervisor.left is not None:
        _tell_of(console.supervisor.left)
    return code


def _tell_of(left: LeftWorker) -> None:
    """Say what outlives the console, while its operator looks."""
    with suppress(OutputError):  # the terminal may be gone
        say(f"Worker {left.pid} was left running; its log: {left.log or 'none'}; `kill {left.pid}` ends it")


def _run(console: Console) -> int:
    """As `App.run`, with an end to the end.

    asyncio waits for every task and every thread, also for one that waits for a file system or a server that
    does not answer. The operator has quit by then: what does not end in time ends as if we had been killed.

    Returns:
        The exit code.
    """
    with asyncio.Runner() as runner:
        # Words of a library about the end of its tasks are not for the operator's shell.
        runner.get_loop().set_exception_handler(lambda _, context: console.log.error(context))
        code = runner.run(_shown(console))
        last_resort = threading.Timer(ENDS_WITHIN_S, os._exit, (code,))
        last_resort.daemon = True
        last_resort.start()
    last_resort.cancel()
    return code


async def _shown(console: Console) -> int:
    async with beside(swept()):
        return await console.run_async() or 0
