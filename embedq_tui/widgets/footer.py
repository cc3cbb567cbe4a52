"""The line of keys, which is costly to make: a widget for each of them."""

from __future__ import annotations

from textual.screen import Screen
from textual.widgets import Footer


class Keys(Footer):
    """Textual's footer, made anew once for any number of changes, and only where it shows something else.

    Textual makes it anew for every change. Where changes come faster than that is done, as when an operator
    goes through the screens quickly, it never comes to an end, and nothing is drawn meanwhile.
    """

    def __init__(self) -> None:
        super().__init__(show_command_palette=False, compact=True)
        self._due = False
        self._made_of: tuple[object, ...] | None = None

    def bindings_changed(self, screen: Screen[object]) -> None:
        """What can be done has changed, or may have."""
        self._bindings_ready = True
        if not self._due and screen.app.app_focus and self.is_attached and screen is self.screen:
            self._due = True
            self.call_after_refresh(self._make_anew)

    async def _make_anew(self) -> None:
        self._due = False
        # Its screen was left meanwhile, or is about to go: what it would ask there may be gone already.
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
