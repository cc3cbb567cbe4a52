"""SIGTSTP and SIGCONT, at any moment: a kernel also sends the latter when the terminal is closed."""

from __future__ import annotations

import asyncio
import signal
from queue import Queue
from types import SimpleNamespace

import pytest
from textual.geometry import Size

from embedq_tui.console.driver import TerminalDriver
from embedq_tui.console.screen_buffer import ScreenBuffer
from tests.support.waiting import until


async def test_a_signal_during_a_write_does_not_wait_for_its_lock() -> None:
    queue: Queue[str | None] = Queue()
    driver = TerminalDriver.__new__(TerminalDriver)
    redrawn: list[object] = []
    driver.__dict__.update(
        _app=SimpleNamespace(_loop=asyncio.get_running_loop(), call_later=redrawn.append, size=Size(80, 24)),
        _must_signal_resume=False,
        _writer_thread=SimpleNamespace(_queue=queue),
        _buffer=ScreenBuffer(),
        fileno=-1,
    )
    before = signal.signal(signal.SIGCONT, driver._sigcont_application)
    try:
        with queue.mutex:  # as a write holds it
            signal.raise_signal(signal.SIGCONT)
        await until(lambda: bool(redrawn))
        assert not queue.empty()
    finally:
        signal.signal(signal.SIGCONT, before)


async def test_the_terminal_is_restored_before_a_stop_but_not_during_a_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue: Queue[str | None] = Queue()
    driver = TerminalDriver.__new__(TerminalDriver)
    stopped, writing = list[int](), list[bool]()
    driver.__dict__.update(
        _app=SimpleNamespace(_loop=asyncio.get_running_loop()),
        _auto_restart=True,
        suspend_application_mode=lambda: writing.append(queue.mutex.locked()),
    )
    monkeypatch.setattr("os.kill", lambda _, number: stopped.append(number))
    before = signal.signal(signal.SIGTSTP, driver._sigtstp_application)
    try:
        with queue.mutex:  # as a write holds it
            signal.raise_signal(signal.SIGTSTP)
        await until(lambda: stopped == [signal.SIGSTOP])
        assert writing == [False]
    finally:
        signal.signal(signal.SIGTSTP, before)
