"""A list with a filter line, which is parsed as it is typed and closes when it is applied."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar, cast

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.widgets import Input

from embedq_tui.rendering.styles import BAD
from embedq_tui.screens.base import ConsoleScreen
from embedq_tui.screens.filter_line import FilterLine
from embedq_tui.widgets.lines import Lines
from embedq_tui.widgets.text_view import wrapped
from embedq_worker.errors import EmbedqError
from embedq_worker.text import printable_line

F = TypeVar("F")


def show_filtered(before: ConsoleScreen, mode: str, wanted: object) -> None:
    """Switch to another screen, and list these rows there.

    Args:
        before: The screen to leave.
        mode: Name of the other one, a `Filtering`.
        wanted: The filter to apply, of its kind.
    """
    app = before.app
    before.console.action_show(mode)
    screen = cast("Filtering[Any]", app.screen_stack[0])
    while app.screen is not screen:  # details opened there earlier
        app.pop_screen()
    screen.call_next(screen.look_for, wanted)


class Filtering(ConsoleScreen, Generic[F]):
    """A screen whose list can be filtered by typing.

    Attributes:
        EXAMPLE: Placeholder of the filter line.
    """

    EXAMPLE: ClassVar[str] = ""

    # -- for subclasses to override

    def filter_text(self) -> str:
        """The current filter as text."""
        raise NotImplementedError

    def parsed(self, text: str) -> F:
        """Parse a filter.

        Raises:
            EmbedqError: It is invalid; says where.
        """
        raise NotImplementedError

    def completed(self, text: str) -> str | None:
        """Complete the last term of a text; None if there is no completion."""
        return None

    def look_for(self, wanted: F) -> None:
        """Apply another filter."""
        raise NotImplementedError

    def back_to_list(self) -> None:
        """Focus the list."""

    # -- for subclasses to use

    def filter_widgets(self) -> ComposeResult:
        """The filter line and the lines for its errors."""
        yield FilterLine(self.completed, placeholder=self.EXAMPLE, id="filter")
        complaint = Lines(id="complaint")
        complaint.display = False
        yield complaint

    @property
    def editing(self) -> bool:
        """Whether a filter is being typed."""
        return self.has_class("-editing")

    def close_filter(self) -> None:
        """Close the filter line and keep the current filter."""
        self.remove_class("-editing")
        self.query_one(FilterLine).display = False
        self.query_one("#complaint", Lines).display = False
        self.back_to_list()

    # -- wiring

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a filter is being typed, its key belongs to it, like all others that can be typed."""
        if self.editing and action == "filter":
            return False
        return super().check_action(action, parameters)

    def action_filter(self) -> None:
        """Open the filter line."""
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
        """Parse a filter; an error is shown below the line."""
        wanted, wrong = None, ""
        try:
            wanted = self.parsed(text)
        except EmbedqError as error:
            wrong = error.message
        complaint, width = self.query_one("#complaint", Lines), max(self.size.width - 2, 20)
        complaint.show(Text(piece, BAD) for piece in wrapped(printable_line(wrong), width))
        complaint.display = bool(wrong)
        return wanted
