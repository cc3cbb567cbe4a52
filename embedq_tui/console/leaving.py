"""Quitting while this console's worker is running: asks what to do with it, and does it."""

from __future__ import annotations

from embedq_tui.desk import Desk
from embedq_tui.dialogs.choose import Choice, ask_choice
from embedq_tui.rendering.keys import key
from embedq_tui.supervisor.types import WorkerState


async def may_leave(desk: Desk) -> bool:
    """Ask what to do with the worker, and do it. Call it in a Textual worker.

    Args:
        desk: Of the console to quit.

    Returns:
        Whether it may quit; False if the operator stays.
    """
    supervisor = desk.supervisor
    stopping = supervisor.state is WorkerState.STOPPING
    stop = Choice("force", "Stop it at once and quit", "its tasks return to the queue")
    if not stopping:
        stop = Choice("stop", "Stop it and quit", "it finishes its tasks first")
    leave = Choice("leave", "Leave it running and quit", "it logs to a file")
    title = "This console's worker is " + ("stopping" if stopping else "running")
    match await ask_choice(desk.app, title, [stop, leave, Choice("stay", "Stay")]):
        case "stop":
            desk.dialogs.notify(
                f"The worker is finishing its tasks; press {key('app.quit')} again to end it at once"
            )
            await supervisor.stop()
        case "force":
            await supervisor.force()
        case "leave":
            await supervisor.leave()
        case _:
            return False
    return True
