"""Saving the filter of the list of tasks, and choosing among the saved ones."""

from __future__ import annotations

from embedq_tui.desk import Desk
from embedq_tui.dialogs.choose import Choice, ask_choice, ask_text
from embedq_tui.filters.saved_filters import LONGEST_NAME, load_filters, store_filters
from embedq_tui.rendering.keys import key


async def save_filter(desk: Desk, text: str) -> None:
    """Save a filter under a name. Call it in a Textual worker.

    Args:
        desk: Of the database.
        text: The filter.

    Raises:
        SettingsError: The file of filters cannot be read or written.
    """
    saved = load_filters()
    name = await ask_text(
        desk.app,
        "Save this filter as",
        note=text or "all tasks",
        complaint=lambda name: "" if 0 < len(name) <= LONGEST_NAME else f"1 to {LONGEST_NAME} characters",
    )
    if name is not None:
        store_filters({**saved, name: text})
        desk.dialogs.notify(f"Saved as {name}")


async def recall_filter(desk: Desk) -> str | None:
    """Let the operator choose a saved filter. Call it in a Textual worker.

    Args:
        desk: Of the database.

    Returns:
        The filter's text; None if none was chosen.

    Raises:
        SettingsError: The file of filters cannot be read or written.
    """
    saved = load_filters()
    if not saved:
        desk.dialogs.notify(f"No saved filters yet; press {key('tasks.save_filter')} to save the current one")
        return None
    choices = [Choice(name, name, text or "all tasks") for name, text in saved.items()]
    name = await ask_choice(desk.app, "Saved filters", [*choices, Choice("", "Delete one of them")])
    if name == "":
        name = await ask_choice(desk.app, "Delete which filter?", choices)
        if name is not None:
            store_filters({other: text for other, text in saved.items() if other != name})
        return None
    return None if name is None else saved[name]
