"""What all dialogs are: a box in the middle, a text that scrolls, buttons below it that always fit."""

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

from embedq_tui.capabilities import ascii_only
from embedq_tui.rendering.styles import badge_style
from embedq_worker.text import printable

R = TypeVar("R")

LONGEST = 20_000
"""Characters of one text that are shown; what is longer is cut, and says so."""

TINY = 12
"""Height below which a dialog has no border and does not name the database."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which database a dialog is about.

    Attributes:
        name: In words, without secrets.
        environment: Word for the badge: production.
        colour: Of the badge.
    """

    name: str = ""
    environment: str = ""
    colour: str = "green"


def text_of(words: str, style: str = "") -> Text:
    """A text as it is: no markup, no control characters, of bounded length."""
    shown = printable(words[:LONGEST])
    if len(words) > LONGEST:
        shown += f"\n({len(words) - LONGEST:,} more characters)"
    return Text(shown, style)


class Dialog(ModalScreen[R], Generic[R]):
    """A dialog.

    Args:
        title: One line.
        place: Named above the title where it is given.
        danger: It has a border of the colour for danger.
    """

    DEFAULT_CSS = """
    Dialog { align: center middle; background: $background 60%; }
    Dialog #box {
        width: 76; max-width: 100%; height: auto; max-height: 100%;
        background: $panel; border: round $primary; padding: 0 1;
    }
    Dialog #box.-danger { border: round $error; }
    Dialog #box.-ascii { border: ascii $primary; }
    Dialog #box.-tiny { border: none; padding: 0; }
    Dialog #place { height: 1; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    Dialog #box.-tiny #place { display: none; }
    Dialog #text { height: auto; scrollbar-size-vertical: 1; }
    Dialog #text Static { width: 1fr; height: auto; }
    Dialog #title { text-style: bold; margin: 0 0 1 0; }
    Dialog #box.-tiny #title { margin: 0; }
    Dialog #buttons {
        height: 1; width: 1fr; margin: 1 0 0 0; overflow-x: auto; scrollbar-size-horizontal: 0;
    }
    Dialog #box.-tiny #buttons { margin: 0; }
    Dialog #buttons Button { min-width: 6; width: auto; margin: 0 2 0 0; }
    /* Where colours are few, Textual draws a border around it, and of one line nothing would be left. */
    Dialog #buttons Button:disabled { border: none !important; }
    Dialog Input { margin: 1 0 0 0; }
    Dialog #box.-tiny Input { margin: 0; }
    """
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "give_up", "Back", id="dialog.back"),
        Binding("left,h", "app.focus_previous", show=False, id="dialog.previous"),
        Binding("right,l", "app.focus_next", show=False, id="dialog.next"),
        Binding("up,k", "scroll(-1)", show=False, id="dialog.up"),
        Binding("down,j", "scroll(1)", show=False, id="dialog.down"),
        Binding("pageup", "scroll(-10)", show=False, id="dialog.page_up"),
        Binding("pagedown", "scroll(10)", show=False, id="dialog.page_down"),
    ]

    def __init__(self, title: str, place: Place | None = None, *, danger: bool = False) -> None:
        super().__init__()
        self._title = title
        self._place = place
        self._danger = danger
        self._result: list[R] = []
        self._dismissed = False

    # -- what a dialog of its own overrides

    def lines(self) -> Iterable[Widget]:
        """What it says, below its title."""
        return ()

    def fields(self) -> Iterable[Widget]:
        """What is to be filled in, between text and buttons."""
        return ()

    def buttons(self) -> Sequence[Button]:
        """Its buttons."""
        return ()

    def action_give_up(self) -> None:
        """Do nothing of what it is about."""
        raise NotImplementedError

    def is_meant(self, event: Key | Paste) -> bool:
        """Whether something that was typed is for it: it may have been typed before it was on the screen."""
        return True

    # -- what it can use

    def end(self, result: R) -> None:
        """Close it, once: a key that is pressed twice must not close what is below, too."""
        if not self._result:
            self._result.append(result)
            self._close()

    def _close(self) -> None:
        """Close what ended; not what is above it, which closes first."""
        if self._result and not self._dismissed and self.app.screen is self:
            self._dismissed = True
            self.dismiss(self._result[0])

    def on_screen_resume(self) -> None:
        """What was above it is closed: so is this, if it ended meanwhile."""
        self._close()

    # -- wiring

    def compose(self) -> ComposeResult:
        """The box."""
        with Vertical(id="box") as box:
            box.set_class(self._danger, "-danger")
            box.set_class(ascii_only(), "-ascii")
            if self._place is not None:
                yield Static(_place(self._place), id="place")
            with VerticalScroll(id="text", can_focus=False):
                yield Static(text_of(self._title), id="title")
                yield from self.lines()
            yield from self.fields()
            with Horizontal(id="buttons"):
                yield from self.buttons()

    def on_mount(self) -> None:
        """Fit it into the screen as soon as it is shown."""
        self.on_resize()

    def on_resize(self) -> None:
        """Leave the text what the rest does not need."""
        tiny = self.app.size.height < TINY
        self.query_one("#box").set_class(tiny, "-tiny")
        field_rows = sum(2 if not tiny else 1 for _ in self.fields_shown())
        chrome = field_rows + (1 if tiny else 4 + (self._place is not None))
        self.query_one("#text").styles.max_height = max(self.app.size.height - chrome, 1)

    def fields_shown(self) -> Iterable[Widget]:
        """What `fields` made."""
        box = self.query_one("#box")
        return [child for child in box.children if child.id not in ("place", "text", "buttons")]

    def action_scroll(self, lines: int) -> None:
        """Scroll the text."""
        self.query_one("#text").scroll_relative(y=lines, animate=False)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.pressed(event.button.id or "")

    def pressed(self, button: str) -> None:
        """A button was pressed.

        Args:
            button: Its id.
        """
        self.action_give_up()


class SeenFirst(Dialog[R]):
    """A dialog that takes no key that was pressed before it could be seen, but for those that leave it.

    Attributes:
        LEAVING: Actions of the keys that leave it.
        seen_at: When it came on the screen, of the clock `time.monotonic`, as events have it; None before.
    """

    LEAVING: ClassVar[frozenset[str]] = frozenset({"give_up"})

    def __init__(self, title: str, place: Place | None = None, *, danger: bool = False) -> None:
        super().__init__(title, place, danger=danger)
        self.seen_at: float | None = None

    def on_screen_resume(self) -> None:
        """It is drawn next. Textual calls the handler of `Dialog`, too."""
        if self.seen_at is None:
            self.call_after_refresh(self._seen)

    def _seen(self) -> None:
        self.seen_at = self.seen_at or time.monotonic()

    def is_meant(self, event: Key | Paste) -> bool:
        """It was typed by who saw the dialog, or it leaves it."""
        if self.seen_at is not None and event.time >= self.seen_at:
            return True
        active = self.active_bindings.get(event.key) if isinstance(event, Key) else None
        return active is not None and active.binding.action in self.LEAVING


async def show(app: App[Any], dialog: Dialog[R]) -> R:
    """Show a dialog and wait for its end; it does not outlive whoever waits. Call it in a worker of Textual.

    Args:
        app: Where it is shown.
        dialog: Not shown yet.
    """
    try:
        return await app.push_screen_wait(dialog)
    except asyncio.CancelledError:
        dialog.action_give_up()
        raise


def button(label: str, name: str, *, danger: bool = False, primary: bool = False) -> Button:
    """A button of a dialog.

    Args:
        label: What it says.
        name: Its id.
        danger: It destroys.
        primary: It is what is meant to be pressed.
    """
    variant: ButtonVariant = "error" if danger else "primary" if primary else "default"
    return Button(Text(printable(label)), variant=variant, id=name, compact=True)


def _place(place: Place) -> Text:
    line = Text()
    if place.environment:
        line.append(f" {printable(place.environment)[:20].upper()} ", badge_style(place.colour))
        line.append(" ")
    line.append(printable(place.name), "dim")
    return line
