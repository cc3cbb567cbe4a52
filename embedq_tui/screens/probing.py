"""Probing unavailable providers at once, through the workers that use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embedq_tui.dialogs.running import Progress
from embedq_tui.rendering.probed import describe
from embedq_worker.actions.probing import Probed, probe
from embedq_worker.schema.state import require_current

if TYPE_CHECKING:
    from embedq_tui.console.app import Console

ANSWER_S = 60.0
"""Seconds to wait for an answer; the operator can stop waiting earlier."""


async def try_providers(console: Console) -> None:
    """Have every unavailable provider probed, and report the result. Call it in a Textual worker.

    Args:
        console: The console.
    """

    async def ask(_: Progress) -> list[Probed]:
        async with console.session.link.connection() as connection:
            await require_current(connection)
            dead_s, by = console.session.settings.dead_after_s, console.options.operator
            return await probe(connection, None, by, dead_s=dead_s, within_s=ANSWER_S)

    progress = Progress("Probing unavailable providers", stop="Don't wait")
    probed = await console.dialogs.attempt(progress, ask)
    if probed is None:
        return
    console.session.again()
    if not probed:
        console.dialogs.notify("Every provider is available; there is nothing to probe")
    for one in probed:
        console.dialogs.notify("\n".join(filter(None, (describe(one), one.advice))), bad=one.held)
