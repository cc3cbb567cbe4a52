"""Probing unavailable providers at once, through the workers that use them."""

from __future__ import annotations

from embedq_tui.desk import Desk
from embedq_tui.dialogs.running import Progress
from embedq_tui.rendering.outcomes import probed_words
from embedq_worker.actions.probing import Probed, probe
from embedq_worker.schema.state import require_current

ANSWER_S = 60.0
"""Seconds to wait for an answer; the operator can stop waiting earlier."""


async def try_providers(desk: Desk) -> None:
    """Have every unavailable provider probed, and report the result. Call it in a Textual worker.

    Args:
        desk: Of the database.
    """

    async def ask() -> list[Probed]:
        async with desk.session.link.connection() as connection:
            await require_current(connection)
            dead_s, by = desk.session.settings.dead_after_s, desk.options.operator
            return await probe(connection, None, by, dead_s=dead_s, within_s=ANSWER_S)

    progress = Progress("Probing unavailable providers", stop="Don't wait")
    probed = await desk.dialogs.attempt(progress, ask)
    if probed is None:
        return
    desk.session.again()
    if not probed:
        desk.dialogs.notify("Every provider is available; there is nothing to probe")
    for one in probed:
        desk.dialogs.notify("\n".join(filter(None, (probed_words(one), one.advice))), bad=one.held)
