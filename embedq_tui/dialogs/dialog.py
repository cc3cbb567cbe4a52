"""The base of all dialogs: a centred box, scrolling text, and buttons below that always fit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.events import Key, Paste
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Static
from textual.widgets.button import ButtonVariant

from embedq_tui.rendering.keys import key
from embedq_tui.rendering.styles import badge
from embedq_worker.text import printable

R = TypeVar("R")

LONGEST = 20_000
"""Characters shown of one text; longer ones are cut, and say so."""

TINY = 12
"""Screen height below which a dialog drops its border and the database name."""


@dataclass(frozen=True, slots=True)
class DatabaseLabel:
    """The database a dialog concerns.

    Attributes:
        name: In words, without secrets.
        environment: Text of the badge: production.
        colour: Of the badge.
    """

    name: str = ""
    environment: str = ""
    colour: str = "green"


def text_of(words: str, style: str = "") -> Text:
    """A literal text: no markup, no control characters, bounded length."""
    shown = printable(words[:LONGEST])
    if len(words) > LONGEST:
        shown += f"\n({len(words) - LONGEST:,} more characters)"
    return Text(shown, style)


class Dialog(ModalScreen[R], Generic[R]):
    """A dialog.

    Args:
        title: One line.
        database: The database to name above the title, if any.
        danger: Use the border colour for danger.
    """

    DEFAULT_CSS = """
    Dialog { align: center middle; background: $background 60%; }
    Dialog #box {
        width: 76; max-width: 100%; height: auto; max-height: 100%;
        background: $panel; border: round $primary; padding: 0 1;
    }
    Dialog #box.-danger { border: round $error; }
    Dialog #box.-tiny { border: none; padding: 0; }
    Dialog #database { height: 1; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    Dialog #box.-tiny #database { display: none; }
    Dialog #text { height: auto; scrollbar-size-vertical: 1; }
    Dialog #text Static { width: 1fr; height: auto; }
    Dialog #title { text-style: bold; margin: 0 0 1 0; }
    Dialog #box.-tiny #title { margin: 0; }
    Dialog #buttons {
        height: 1; width: 1fr; margin: 1 0 0 0; overflow-x: auto; scrollbar-size-horizontal: 0;
    }
    Dialog #box.-tiny #buttons { margin: 0; }
    Dialog #buttons Button { min-width: 6; width: auto; margin: 0 2 0 0; }
    /* With few colours Textual draws a border around it, which would hide a one-line button entirely. */
    Dialog #buttons Button:disabled { border: none !important; }
    Dialog Input { margin: 1 0 0 0; }
    Dialog #box.-tiny Input { margin: 0; }
    /* Notifications at the bottom would cover the buttons. */
    Dialog ToastRack { dock: top; align: right top; margin: 0; }
    """
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "give_up", "Back", id="dialog.back"),
        Binding("left,h", "app.focus_previous", "Previous button", show=False, id="dialog.previous"),
        Binding("right,l", "app.focus_next", "Next button", show=False, id="dialog.next"),
        Binding("up,k", "scroll(-1)", "Scroll up", show=False, id="dialog.up"),
        Binding("down,j", "scroll(1)", "Scroll down", show=False, id="dialog.down"),
        Binding("pageup", "scroll(-10)", "Scroll up by a page", show=False, id="dialog.page_up"),
        Binding("pagedown", "scroll(10)", "Scroll down by a page", show=False, id="dialog.page_down"),
    ]

    def __init__(self, title: str, database: DatabaseLabel | None = None, *, danger: bool = False) -> None:
        super().__init__()
        self._title = title
        self._database = database
        self._danger = danger
        self._result: list[R] = []
        self._dismissed = False

    # -- for subclasses to override

    def lines(self) -> Iterable[Widget]:
        """The text below the title."""
        return ()

    def fields(self) -> Iterable[Widget]:
        """The input fields, between text and buttons."""
        return ()

    def buttons(self) -> Sequence[Button]:
        """Its buttons."""
        return ()

    def action_give_up(self) -> None:
        """Close it without doing anything."""
        raise NotImplementedError

    def is_meant(self, event: Key | Paste) -> bool:
        """Whether typed input is meant for it: it may have been typed before the dialog was visible."""
        return True

    # -- for subclasses to use

    def end(self, result: R) -> None:
        """Close it, once: a key pressed twice must not also close what is below."""
        if not self._result:
            self._result.append(result)
            self._close()

    def _close(self) -> None:
        """Close it if it has ended; a dialog above it closes first."""
        if self._result and not self._dismissed and self.app.screen is self:
            self._dismissed = True
            self.dismiss(self._result[0])

    def on_screen_resume(self) -> None:
        """The dialog above has closed: close this one too if it ended in the meantime."""
        self._close()

    # -- wiring

    def compose(self) -> ComposeResult:
        """The box."""
        with Vertical(id="box") as box:
            box.set_class(self._danger, "-danger")
            if self._database is not None:
                yield Static(_named(self._database), id="database")
            with VerticalScroll(id="text", can_focus=False):
                yield Static(text_of(self._title), id="title")
                yield from self.lines()
            yield from self.fields()
            with Horizontal(id="buttons"):
                yield from self.buttons()

    def on_mount(self) -> None:
        """Fit it to the screen."""
        self.on_resize()

    def on_resize(self) -> None:
        """Give the text whatever height the rest does not need."""
        box, tiny = self.query_one("#box"), self.app.size.height < TINY
        box.set_class(tiny, "-tiny")
        fields = [child for child in box.children if child.id not in ("database", "text", "buttons")]
        chrome = len(fields) * (1 if tiny else 2) + (1 if tiny else 4 + (self._database is not None))
        self.query_one("#text").styles.max_height = max(self.app.size.height - chrome, 1)

    def action_scroll(self, lines: int) -> None:
        """Scroll the text."""
        self.query_one("#text").scroll_relative(y=lines, animate=False)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.pressed(event.button.id or "")

    def pressed(self, button: str) -> None:
        """React to a button.

        Args:
            button: Its id.
        """
        self.action_give_up()


class SeenFirst(Dialog[R]):
    """A dialog that ignores keys pressed before it was visible, except those that close it.

    Attributes:
        LEAVING: Actions of the keys that close it.
        seen_at: When it became visible, by `time.monotonic`, as events use it; None before.
    """

    LEAVING: ClassVar[frozenset[str]] = frozenset({"give_up"})

    seen_at: float | None = None

    def on_screen_resume(self) -> None:
        """It is about to be drawn. Textual also calls the handler of `Dialog`."""
        if self.seen_at is None:
            self.call_after_refresh(self._seen)

    def _seen(self) -> None:
        self.seen_at = self.seen_at or time.monotonic()

    def is_meant(self, event: Key | Paste) -> bool:
        """Whether it was typed after the dialog became visible, or closes it."""
        if self.seen_at is not None and event.time >= self.seen_at:
            return True
        active = self.active_bindings.get(event.key) if isinstance(event, Key) else None
        return active is not None and active.binding.action in self.LEAVING


async def show(app: App[Any], dialog: Dialog[R]) -> R:
    """Show a dialog and wait until it closes; cancelling the wait closes it. Call it in a Textual worker.

    Args:
        app: The application to show it in.
        dialog: One that has not been shown yet.
    """
    try:
        return await app.push_screen_wait(dialog)
    except asyncio.CancelledError:
        dialog.action_give_up()
        raise


def button(label: str, name: str, *, danger: bool = False, primary: bool = False) -> Button:
    """A button of a dialog.

    Args:
        label: Its text.
        name: Its id.
        danger: It is destructive.
        primary: It is the expected choice.
    """
    variant: ButtonVariant = "error" if danger else "primary" if primary else "default"
    return Button(Text(printable(label)), variant=variant, id=name, compact=True)


def with_key(label: str, name: str) -> str:
    """A label with the key that does the same: ``Back (esc)``.

    Args:
        label: What it does.
        name: Of the key's binding.
    """
    return f"{label} ({key(name)})"


def _named(database: DatabaseLabel) -> Text:
    line = badge(printable(database.environment)[:20], database.colour)
    return line.append(printable(database.name), "dim")
