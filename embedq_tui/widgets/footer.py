"""The footer with the keys, which is expensive to build: it has a widget for each key."""

from __future__ import annotations

from textual.screen import Screen
from textual.widgets import Footer


class Keys(Footer):
    """Textual's footer, rebuilt once for any number of changes, and only if it would look different.

    Textual rebuilds it for every change. If changes arrive faster than that, as when an operator switches
    screens quickly, it never finishes, and nothing is drawn in the meantime.
    """

    def __init__(self) -> None:
        super().__init__(show_command_palette=False, compact=True)
        self._due = False
        self._made_of: tuple[object, ...] | None = None

    def bindings_changed(self, screen: Screen[object]) -> None:
        """Schedule a rebuild: the available actions may have changed."""
        self._bindings_ready = True
        if not self._due and screen.app.app_focus and self.is_attached and screen is self.screen:
            self._due = True
            self.call_after_refresh(self._rebuild)

    async def _rebuild(self) -> None:
        self._due = False
        # Its screen was left in the meantime, or is closing, and may already be incomplete.
        if not (self.is_attached and self.display):
            return
        shown = tuple(
            (binding.key, binding.description, enabled, tooltip)
            for _, binding, enabled, tooltip in self.screen.active_bindings.values()
            if binding.show
        )
        if shown != self._made_of:
            self._made_of = shown
            await self.recompose()
            # Its keys watch whether it is compact: it would hold all it ever had, until that changes.
            self.mutate_reactive(Footer.compact)
