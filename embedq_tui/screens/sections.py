"""Screens with several tabs, among them those that follow one row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from rich.text import Text
from textual.widgets import ContentSwitcher

from embedq_tui.live.questions import Answer
from embedq_tui.rendering.keys import key
from embedq_tui.rendering.styles import BAD, HEAD, QUIET
from embedq_tui.screens.base import ConsoleScreen
from embedq_tui.widgets.lines import Lines
from embedq_worker.text import printable_line


class Sectioned(ConsoleScreen):
    """A screen with tabs: widgets in a `ContentSwitcher`, by id, below a line that names them.

    Attributes:
        SECTIONS: The tabs, in order.
        section: The one that is shown.
    """

    SECTIONS: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.section = self.SECTIONS[0]

    # -- for subclasses to override

    def draw(self) -> None:
        """Draw what depends on the tab."""

    # -- for subclasses to use

    def section_line(self, labels: Sequence[str], binding: str) -> Text:
        """The line of tabs.

        Args:
            labels: Their names, in order.
            binding: Shows the next one.
        """
        line = Text()
        for section, label in zip(self.SECTIONS, labels, strict=True):
            line.append(f" {label} ", f"reverse {HEAD}" if section == self.section else QUIET)
            line.append(" ")
        return line.append(f" {key(binding)}: next", QUIET)

    def show_section(self, section: str) -> None:
        """Show a tab, and focus it."""
        self.section = section
        self.query_one(ContentSwitcher).current = section
        self.set_focus(self.query_one(f"#{section}"))
        self.draw()
        self.refresh_bindings()

    def action_section(self, by: int) -> None:
        """Show another tab."""
        at = self.SECTIONS.index(self.section) + by
        self.show_section(self.SECTIONS[at % len(self.SECTIONS)])


class Found(Protocol):
    """A row with all that belongs to it."""

    @property
    def at(self) -> datetime:
        """When it was read, by the database's clock."""


D = TypeVar("D", bound=Found)


class DetailScreen(Sectioned, Generic[D]):
    """Shows a row: facts in the `Lines` "facts", tabs below. The last known state of a deleted one stays.

    Args:
        called: What it is called while nothing else is known.

    Attributes:
        found: The row as last read; None before that.
        gone: It does not exist, or no longer.
    """

    def __init__(self, called: str) -> None:
        super().__init__()
        self.found: D | None = None
        self.gone = False
        self._called = called
        self._problem = ""

    # -- for subclasses to override

    def facts(self, found: D, now: datetime) -> Iterable[Text]:
        """The row at a glance."""
        raise NotImplementedError

    # -- for subclasses to use

    def follow(self, answer: Answer[Any]) -> None:
        """Take an answer about the row: None if it does not exist."""
        self._problem = "" if answer.error is None else answer.error.message
        self.gone = answer.value is None and answer.error is None
        self.found = answer.value or self.found

    # -- wiring

    def on_mount(self) -> None:
        """Draw placeholders and focus the first tab."""
        self.show_section(self.section)

    def ticked(self, now: datetime) -> None:
        """Update ages."""
        self.draw()

    def state_changed(self) -> None:
        """The rights or the connection may have changed."""
        self.draw()
        self.refresh_bindings()

    def draw(self) -> None:
        """Draw the facts; subclasses add the line of tabs."""
        self.query_one("#facts", Lines).show(self._facts())

    def _facts(self) -> Iterable[Text]:
        if self.gone:
            gone = "no longer exists" if self.found else "does not exist"
            yield Text(f"{self._called} {gone}", f"bold {BAD}")
        if self._problem:
            yield Text(printable_line(self._problem), BAD)
        if self.found is not None:
            yield from self.facts(self.found, self.store.now() or self.found.at)
        elif not self.gone and not self._problem:
            yield Text(f"{self._called}  ", QUIET) + self.unknown()

    def action_leave(self) -> None:
        """Go back to the previous screen."""
        self.dismiss()
