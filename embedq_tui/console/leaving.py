"""Quitting while a worker of the console runs: what is to become of it is asked, and done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embedq_tui.dialogs.choose import Choice, ask_choice
from embedq_tui.supervisor.types import WorkerState

if TYPE_CHECKING:
    from embedq_tui.console.app import Console


async def may_leave(console: Console) -> bool:
    """Ask what is to become of the worker, and do it. Call it in a worker of Textual.

    Args:
        console: It is to end.

    Returns:
        Whether it may; not where the operator stays.
    """
    supervisor = console.supervisor
    stopping = supervisor.state is WorkerState.STOPPING
    stop = Choice("force", "End it now and quit", "it gives back what it holds")
    if not stopping:
        stop = Choice("stop", "Stop it and quit", "it finishes what it holds")
    leave = Choice("leave", "Leave it running and quit", "it logs to a file")
    title = "The worker of this console is " + ("stopping" if stopping else "running")
    match await ask_choice(console, title, [stop, leave, Choice("stay", "Stay")]):
        case "stop":
            console.notify("The worker finishes what it holds; q again can end it at once", markup=False)
            await supervisor.stop()
        case "force":
            await supervisor.force()
        case "leave":
            await supervisor.leave()
        case _:
            return False
    return True
