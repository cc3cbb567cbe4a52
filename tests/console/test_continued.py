"""SIGTSTP and SIGCONT, at any moment: a kernel also sends the latter when the terminal is closed."""

from __future__ import annotations

import asyncio
import os
import signal
import termios
from queue import Queue
from types import SimpleNamespace

from textual.geometry import Size

from embedq_tui.console.driver import TerminalDriver
from embedq_tui.console.screen_buffer import ScreenBuffer
from tests.support.waiting import until


async def test_a_signal_during_a_write_does_not_wait_for_its_lock() -> None:
    queue: Queue[str | None] = Queue()
    driver = TerminalDriver.__new__(TerminalDriver)
    redrawn: list[object] = []
    master, terminal = os.openpty()
    driver.__dict__.update(
        _app=SimpleNamespace(_loop=asyncio.get_running_loop(), call_later=redrawn.append, size=Size(80, 24)),
        _modes=termios.tcgetattr(terminal),
        _writer_thread=SimpleNamespace(_queue=queue),
        _buffer=ScreenBuffer(),
        fileno=terminal,
    )
    before = signal.signal(signal.SIGCONT, driver._sigcont_application)
    try:
        with queue.mutex:  # as a write holds it
            signal.raise_signal(signal.SIGCONT)
        await until(lambda: bool(redrawn))
        assert not queue.empty()
    finally:
        signal.signal(signal.SIGCONT, before)
        os.close(terminal)
        os.close(master)


async def test_a_stop_during_a_write_is_left_to_the_console() -> None:
    queue: Queue[str | None] = Queue()
    driver = TerminalDriver.__new__(TerminalDriver)
    asked, writing = list[str](), list[bool]()

    def call_later(_: object, action: str) -> None:
        asked.append(action)
        writing.append(queue.mutex.locked())

    driver.__dict__.update(
        _app=SimpleNamespace(_loop=asyncio.get_running_loop(), call_later=call_later, run_action=None)
    )
    before = signal.signal(signal.SIGTSTP, driver._sigtstp_application)
    try:
        with queue.mutex:  # as a write holds it
            signal.raise_signal(signal.SIGTSTP)
        await until(lambda: asked == ["suspend"])
        assert writing == [False]
    finally:
        signal.signal(signal.SIGTSTP, before)
