"""Choosing the priority of tasks."""

from __future__ import annotations

from typing import Any

from textual.app import App

from embedq_tui.dialogs.choose import Choice, ask_choice
from embedq_worker.schema.task_values import Priority

_CHOICES: tuple[Choice[Priority], ...] = (
    Choice("high", "high", "before everything else"),
    Choice("normal", "normal", "in line with saved articles, by age"),
    Choice("low", "low", "after anything saved in the meantime"),
)


async def ask_priority(app: App[Any], title: str, start: Priority) -> Priority | None:
    """Let the operator choose a priority. Call it in a Textual worker.

    Args:
        app: The application to show it in.
        title: The question.
        start: The preselected priority.

    Returns:
        The priority; None if none was chosen.
    """
    place = next(at for at, choice in enumerate(_CHOICES) if choice.value == start)
    return await ask_choice(app, title, _CHOICES, start=place)
