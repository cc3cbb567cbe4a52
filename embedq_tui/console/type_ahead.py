"""Typing faster than screens open: each key waits for the previous one, and for its screen."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from textual.app import App
from textual.events import Key, Paste
from textual.message_pump import MessagePump
from textual.widget import Widget

LOOK_S = 0.02
"""Seconds between checks whether a dialog has appeared."""

ROWS_S = 1.0
"""Seconds a key for the rows of a table, its first or those of another filter, waits for the database."""

PATIENCE_S = 2.0
"""Seconds a key waits for the previous one; a key pressed later than that goes through anyway."""

Typed = Key | Paste


class TypeAhead:
    """Delivers keys and pasted text to the screens of an application, one at a time.

    Textual delivers a key to whatever has the focus when it arrives, even while the previous key is still
    bubbling up from widget to application. If that one is about to open or close a screen, the next key goes
    to a widget that is about to disappear, or to a screen whose input is not there yet, and is lost.

    Keys also wait while a running operation may be about to show a dialog, such as while tasks are counted,
    and those of a table a moment for its rows: the first, or those of another filter or page. If they do not
    come, all that was typed meanwhile is ignored. The bell tells that a key was ignored.

    Call everything in the application's message loop.

    Args:
        app: The application.
        hand_on: Processes a key as Textual would.
        busy: Whether an operation is running.
    """

    def __init__(
        self, app: App[Any], hand_on: Callable[[Typed], Awaitable[None]], busy: Callable[[], bool]
    ) -> None:
        self._app = app
        self._hand_on = hand_on
        self._busy = busy
        self._waiting: deque[Typed] = deque()
        self._since: float | None = None
        self._turn = 0
        self._after = 0.0

    async def came(self, event: Typed) -> None:
        """Accept typed input."""
        if event.time < self._after:
            return
        self._waiting.append(event)
        if self._since is None or event.time - self._since > PATIENCE_S:
            await self._next()

    def forget(self) -> None:
        """Ignore what was typed until now."""
        self._waiting.clear()
        self._after = time.monotonic()

    async def _next(self) -> None:
        # Imported late, so that the first frame does not wait for them.
        from embedq_tui.dialogs.dialog import Dialog
        from embedq_tui.widgets.keyed_table import KeyedTable

        self._since = None
        if not self._waiting:
            return
        self._turn += 1
        self._since = time.monotonic()
        screen = self._app.screen
        if not screen.is_mounted:
            self._follow(screen, self._turn)
            return
        if self._busy() and not isinstance(screen, Dialog):
            self._app.set_timer(LOOK_S, partial(self._done, self._turn))
            return
        event, goal = self._waiting[0], self._app.focused or screen
        early = isinstance(goal, KeyedTable) and not goal.came and _is_for(goal, event)
        if early and time.monotonic() - event.time < ROWS_S:
            self._app.set_timer(LOOK_S, partial(self._done, self._turn))
            return
        self._waiting.popleft()
        if early:  # what was typed behind it would act on another row without it
            self._waiting.clear()
        if early or (isinstance(screen, Dialog) and not screen.is_meant(event)):
            self._app.bell()
        else:
            await self._hand_on(event)
        self._follow(goal, self._turn, again=goal)

    def _follow(self, node: MessagePump, turn: int, again: MessagePump | None = None) -> None:
        """Continue once a node, and then all its ancestors, have processed what is in their queues now.

        Then once more from `again`: what the node posts when it gets a key, such as the end of a line of
        input, bubbles up behind the first round.
        """
        if node is self._app and again is not None:
            self._follow(again, turn)
        elif node is self._app:
            # Whatever the key started (a worker that shows a dialog) gets its first step before the next key.
            asyncio.get_running_loop().call_soon(self._app.call_later, self._done, turn)
        elif (above := node._parent) is None or not node.call_later(self._follow, above, turn, again):
            self._follow(self._app, turn, again)  # the node is gone

    async def _done(self, turn: int) -> None:
        if turn == self._turn:
            await self._next()


def _is_for(widget: Widget, event: Typed) -> bool:
    """Whether a key is bound by the widget itself, not by its screen or the application."""
    active = widget.screen.active_bindings.get(event.key) if isinstance(event, Key) else None
    return active is not None and active.node is widget
