"""Providers that are held, tried at once by the workers that use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embedq_tui.dialogs.running import Progress
from embedq_tui.rendering.probed import told
from embedq_worker.actions.probing import Probed, probe
from embedq_worker.schema import migrations

if TYPE_CHECKING:
    from embedq_tui.console.app import Console

ANSWER_S = 60.0
"""Seconds that are waited for an answer; it can be left before."""


async def try_providers(console: Console) -> None:
    """Have whatever is held tried, and tell what came of it. Call it in a worker of Textual.

    Args:
        console: Where it is asked for.
    """

    async def ask(_: Progress) -> list[Probed]:
        async with console.session.link.connection() as connection:
            await migrations.require_current(connection)
            dead_s, by = console.session.settings.dead_after_s, console.options.operator
            return await probe(connection, None, by, dead_s=dead_s, within_s=ANSWER_S)

    progress = Progress("Trying what is held", stop="Leave it")
    probed = await console.dialogs.attempt(progress, ask)
    if probed is None:
        return
    console.session.again()
    if not probed:
        console.dialogs.notify("No provider is held")
    for one in probed:
        console.dialogs.notify("\n".join(filter(None, (told(one), one.advice))), bad=one.held)
