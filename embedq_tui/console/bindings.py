"""The keys that work on every screen; what they do is told by the application."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from embedq_tui.screens import ENTRIES

EVERYWHERE: list[BindingType] = [
    Binding("q", "quit", "Quit", id="app.quit"),
    Binding(
        "ctrl+q,ctrl+c",
        "quit",
        "Quit",
        show=False,
        id="app.quit_anywhere",
        tooltip="Quit, also while typing",
    ),
    *(
        Binding(entry.key, f"show('{entry.name}')", entry.title, show=False, id=f"show.{entry.name}")
        for entry in ENTRIES
    ),
    Binding("minus", "show_last", "Last screen", show=False, id="app.last"),
    Binding("question_mark", "help", "Help", key_display="?", id="app.help"),
    Binding("colon", "command_palette", "Commands", key_display=":", id="app.palette"),
    Binding(
        "ctrl+p",
        "command_palette",
        "Commands",
        show=False,
        id="app.palette_anywhere",
        tooltip="Commands, also while typing",
    ),
    Binding("exclamation_mark", "troubles", "What is wrong", show=False, id="app.troubles"),
    Binding("ctrl+r", "refresh", "Look now", show=False, id="app.refresh"),
    Binding(
        "ctrl+o",
        "profiles",
        "Databases",
        show=False,
        id="app.profiles",
        tooltip="Look at another database",
    ),
    Binding(
        "M",
        "migrate",
        "Migrate",
        show=False,
        id="app.migrate",
        tooltip="Apply migrations that are missing",
    ),
    Binding(
        "n",
        "probe",
        "Try provider",
        show=False,
        id="app.probe",
        tooltip="Try at once a provider that is held",
    ),
    Binding("u", "undo", "Undo", show=False, id="app.undo", tooltip="Take back what was done last"),
]
