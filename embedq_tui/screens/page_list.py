"""A filtered list that is shown page by page, with rows that can be marked."""

from __future__ import annotations

from typing import Any, TypeVar

from textual import on

from embedq_tui.screens.filtering import Filtering
from embedq_tui.screens.paging import Paged
from embedq_tui.widgets.keyed_table import KeyedTable

F = TypeVar("F")


class PageList(Filtering[F], Paged):
    """A screen with such a list, a `KeyedTable`. Marking rows freezes it."""

    # -- for subclasses to override

    def draw_lines(self) -> None:
        """Update the lines around the list."""
        raise NotImplementedError

    # -- for subclasses to use

    @property
    def wanted(self) -> F:
        """The current filter."""
        wanted: F = self.pages.view.wanted
        return wanted

    def go(self, view: Any, land: int = 0) -> None:
        """Go to another position; the lines tell of it before the page arrives."""
        super().go(view, land)
        self.draw_lines()

    # -- wiring

    def on_mount(self) -> None:
        """Focus the list and draw the lines."""
        self.back_to_list()
        self.draw_lines()

    def on_resize(self) -> None:
        """Fit the lines around the list."""
        self.draw_lines()

    def state_changed(self) -> None:
        """Counts and rights may have changed."""
        self.draw_lines()
        self.refresh_bindings()

    def back_to_list(self) -> None:
        """Focus the list."""
        self.set_focus(self.table)

    @on(KeyedTable.Marked, "#list")
    def _marked(self, event: KeyedTable.Marked) -> None:
        event.stop()
        self.freeze(bool(event.table.marked))
        self.draw_lines()
        self.refresh_bindings()

    def action_back(self) -> None:
        """Close the filter line, clear the marks, unfreeze or clear the filter: whichever applies first."""
        if self.editing:
            self.close_filter()
        elif self.table.marked:
            self.table.unmark()
        elif self.frozen:
            self.freeze(False)
        elif self.wanted != (everything := self.parsed("")):
            self.look_for(everything)
