"""Opening the console, and what it prints when it closes."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedq_tui.commands.invocation import operator
from embedq_tui.commands.output import OutputError, is_terminal, say
from embedq_tui.console.heap import give_back_large, swept
from embedq_tui.profiles import Profile, load_profiles
from embedq_worker.errors import UsageError
from embedq_worker.process.imports import loading, uninterrupted
from embedq_worker.waits import beside

if TYPE_CHECKING:
    from embedq_tui.console.app import Console
    from embedq_tui.supervisor.left import LeftWorker
    from embedq_worker.configuration.settings import Settings


ENDS_WITHIN_S = 5.0
"""Seconds that the remaining shutdown may take once the terminal is restored."""


def require_terminal() -> None:
    """Refuse to open the console without a terminal.

    Raises:
        UsageError: There is no terminal.
    """
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):  # Textual draws on standard error
        raise UsageError("the console needs a terminal", "commands that need none: embedq-tui --help")


def open_console(
    *,
    profile: str = "",
    env_file: Path | None = None,
    read_only: bool = False,
    settings: Settings | None = None,
    worker: bool = False,
    companion: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> int:
    """Show the console until the operator quits.

    Args:
        profile: A database from profiles.toml; empty for the one from the environment.
        env_file: Settings file given on the command line.
        read_only: Disable every action that changes data.
        settings: Use these instead of loading any.
        worker: Start a supervised worker at once.
        companion: A coroutine to run beside the console until it ends.

    Returns:
        The exit code.

    Raises:
        EmbedqError: There is no terminal, or a setting cannot be used.
    """
    require_terminal()
    give_back_large()
    os.umask(0o077)  # exports, screenshots and logs are readable by the operator only
    profiles = load_profiles()
    chosen = profiles.find(profile) if profile else Profile()
    settings = settings or chosen.settings(env_file)
    with loading():
        from embedq_tui.console.app import Console
        from embedq_tui.desk import Options

    keymap = profiles.keys
    if keymap:
        from embedq_tui.console.keys import keymap_of

        keymap = keymap_of(keymap)
    options = Options(
        operator(),
        read_only=read_only,
        profiles=profiles,
        env_file=env_file,
        keymap=keymap,
        worker=worker,
        companion=companion,
    )
    console = Console(settings, chosen, options)
    code = _run(console)
    if console.desk.supervisor.left is not None:
        _report_left(console.desk.supervisor.left)
    return code


def _report_left(left: LeftWorker) -> None:
    """Tell the operator which worker keeps running after the console."""
    with suppress(OutputError):  # the terminal may be gone
        say(f"Worker {left.pid} is still running; log: {left.log or 'none'}; to stop it: kill {left.pid}")


def _run(console: Console) -> int:
    """Like `App.run`, but with a limit on how long the shutdown takes.

    asyncio waits for every task and thread, even one that is stuck on a file system or a server that does not
    respond. The operator has quit by then: what does not finish in time ends as if the process were killed.

    Returns:
        The exit code.
    """
    with uninterrupted():  # for a loop that is half made, Python prints a traceback
        runner = asyncio.Runner()
        # Libraries' complaints about cancelled tasks do not belong in the operator's shell.
        runner.get_loop().set_exception_handler(lambda _, context: console.log.error(context))
    with runner:
        code = runner.run(_shown(console))
        last_resort = threading.Timer(ENDS_WITHIN_S, os._exit, (code,))
        last_resort.daemon = True
        last_resort.start()
    last_resort.cancel()
    return code


async def _shown(console: Console) -> int:
    async with beside(swept()):
        code = await console.run_async() or 0
    if console.bug is not None:
        raise console.bug
    return code
