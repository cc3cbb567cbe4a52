"""With which priority articles are queued."""

from __future__ import annotations

from typing import Any

from textual.app import App

from embedq_tui.dialogs.choose import Choice, ask_choice
from embedq_worker.content.articles import Priority

_CHOICES: tuple[Choice[Priority], ...] = (
    Choice("low", "low", "after whatever is saved meanwhile"),
    Choice("normal", "normal", "among what is saved, by age"),
    Choice("high", "high", "before everything else"),
)


async def ask_priority(app: App[Any], title: str, start: Priority) -> Priority | None:
    """Let the operator choose one. Call it in a worker of Textual.

    Args:
        app: Where it is shown.
        title: The question.
        start: Where the cursor stands at first.

    Returns:
        None where none was chosen.
    """
    place = next(at for at, choice in enumerate(_CHOICES) if choice.value == start)
    return await ask_choice(app, title, _CHOICES, start=place)
