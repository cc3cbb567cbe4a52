"""The keys that work on every screen; the application implements their actions."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from embedq_tui.screens import ENTRIES

EVERYWHERE: list[BindingType] = [
    Binding("q", "quit", "Quit", id="app.quit"),
    Binding(
        "ctrl+q,ctrl+c", "quit", "Quit", show=False, id="app.quit_anywhere", tooltip="Quit, even while typing"
    ),
    *(
        Binding(entry.key, f"show('{entry.name}')", entry.title, show=False, id=f"show.{entry.name}")
        for entry in ENTRIES
    ),
    Binding("backspace", "show_last", "Last screen", show=False, id="app.last"),
    Binding("question_mark", "help", "Help", id="app.help"),
    Binding("colon", "command_palette", "Commands", id="app.palette"),
    Binding(
        "ctrl+p",
        "command_palette",
        "Commands",
        show=False,
        id="app.palette_anywhere",
        tooltip="Commands, even while typing",
    ),
    Binding(
        "exclamation_mark",
        "troubles",
        "Health",
        show=False,
        id="app.troubles",
        tooltip="Problems, with advice",
    ),
    Binding(
        "ctrl+z",
        "suspend",
        "Suspend",
        show=False,
        id="app.suspend",
        priority=True,
        tooltip="Suspend, even while typing; fg in the shell continues",
    ),
    Binding("ctrl+r", "refresh", "Refresh", show=False, id="app.refresh"),
    Binding(
        "ctrl+o", "profiles", "Databases", show=False, id="app.profiles", tooltip="Switch to another database"
    ),
    Binding("M", "migrate", "Migrate", show=False, id="app.migrate", tooltip="Apply missing migrations"),
    Binding(
        "n", "probe", "Probe provider", show=False, id="app.probe", tooltip="Probe unavailable providers now"
    ),
    Binding("u", "undo", "Undo", show=False, id="app.undo", tooltip="Undo the last action"),
]
