"""A list that is narrowed by a line of text: the line comes, is read as it is written, and goes."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.widgets import Input

from embedq_tui.rendering.styles import BAD
from embedq_tui.screens.base import ConsoleScreen
from embedq_tui.screens.filter_line import FilterLine
from embedq_tui.widgets.lines import Line
from embedq_worker.errors import EmbedqError
from embedq_worker.text import printable_line

F = TypeVar("F")


class Filtering(ConsoleScreen, Generic[F]):
    """A screen whose list is narrowed by what is written.

    Attributes:
        EXAMPLE: Shown where nothing is written.
        NOT_MEANWHILE: Names of its actions that do nothing while a filter is written.
    """

    EXAMPLE: ClassVar[str] = ""
    NOT_MEANWHILE: ClassVar[frozenset[str]] = frozenset({"filter"})

    # -- what a screen of its own overrides

    def filter_text(self) -> str:
        """The filter in force, as it is written."""
        raise NotImplementedError

    def parsed(self, text: str) -> F:
        """A filter that was written.

        Raises:
            EmbedqError: It cannot be understood; says where.
        """
        raise NotImplementedError

    def completed(self, text: str) -> str | None:
        """What is written, with its last term whole; None where nobody knows."""
        return None

    def look_for(self, wanted: F) -> None:
        """List what fulfils another filter."""
        raise NotImplementedError

    def back_to_list(self) -> None:
        """Take keys in the list."""

    # -- what it can use

    def filter_widgets(self) -> ComposeResult:
        """The line of the filter, and what is wrong with it."""
        yield FilterLine(self.completed, placeholder=self.EXAMPLE, id="filter")
        complaint = Line(id="complaint")
        complaint.display = False
        yield complaint

    @property
    def editing(self) -> bool:
        """Whether a filter is being written."""
        return self.has_class("-editing")

    def close_filter(self) -> None:
        """Leave the filter as it was."""
        self.remove_class("-editing")
        self.query_one(FilterLine).display = False
        self.query_one("#complaint", Line).display = False
        self.back_to_list()

    # -- wiring

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a filter is written, keys are for it."""
        if self.editing and action in self.NOT_MEANWHILE:
            return False
        return super().check_action(action, parameters)

    def action_filter(self) -> None:
        """Write a filter."""
        self.add_class("-editing")
        self.refresh_bindings()
        self.query_one(FilterLine).begin(self.filter_text())

    @on(Input.Changed, "#filter")
    def _written(self, event: Input.Changed) -> None:
        event.stop()
        if self.editing:
            self._read(event.value)

    @on(Input.Submitted, "#filter")
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        wanted = self._read(event.value)
        if wanted is not None:
            self.close_filter()
            self.look_for(wanted)

    def _read(self, text: str) -> F | None:
        """The filter of a text; what is wrong with it is told in a line."""
        wanted, wrong = None, ""
        try:
            wanted = self.parsed(text)
        except EmbedqError as error:
            wrong = error.message
        line = self.query_one("#complaint", Line)
        line.say(Text(printable_line(wrong), BAD))
        line.display = bool(wrong)
        return wanted
