"""What is typed faster than screens open: a key waits for the one before it, and for its screen."""

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

LOOK_S = 0.02
"""Seconds after which it is looked again whether a dialog has come."""

PATIENCE_S = 2.0
"""So long a key waits for the one before it; then the next one that is pressed is handed on anyway."""

Typed = Key | Paste


class TypeAhead:
    """Keys and pasted text on their way to the screens of an application, one at a time.

    Textual hands a key to whatever has the focus when it arrives, although the one before it is still on its
    way up from widget to application: what opens or closes a screen is not done yet, and the next key goes to
    a widget that is about to go, or to a screen whose line for writing is not there yet. It is lost then.

    Keys wait also while something is under way that is about to show a dialog: the tasks of an action are
    counted.

    All is called in the message loop of the application.

    Args:
        app: The application.
        hand_on: Does what Textual does with a key.
        busy: Whether something is under way.
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

    async def came(self, event: Typed) -> None:
        """Something was typed."""
        self._waiting.append(event)
        if self._since is None or time.monotonic() - self._since > PATIENCE_S:
            await self._next()

    async def _next(self) -> None:
        from embedq_tui.dialogs.dialog import Dialog  # the first frame need not wait for it

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
        event = self._waiting.popleft()
        goal = self._app.focused or screen
        if isinstance(screen, Dialog) and not screen.is_meant(event):
            self._app.bell()
        else:
            await self._hand_on(event)
        self._follow(goal, self._turn)

    def _follow(self, node: MessagePump, turn: int) -> None:
        """Go on when what is in the queue of a node now is done by it and by all that are above it."""
        if node is self._app:
            # What it began (a worker that shows a dialog) takes its first step before the next key.
            asyncio.get_running_loop().call_soon(self._app.call_later, self._done, turn)
        elif (above := node._parent) is None or not node.call_later(self._follow, above, turn):
            self._follow(self._app, turn)  # it is gone

    async def _done(self, turn: int) -> None:
        if turn == self._turn:
            await self._next()
