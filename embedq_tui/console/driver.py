"""The terminal, which may go away, stop taking what is written, or be slow, at any moment."""

from __future__ import annotations

import os
import select
import selectors
import signal
from codecs import getincrementaldecoder
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from queue import Full
from typing import Any, TextIO, cast

from textual._xterm_parser import XTermParser
from textual.drivers._writer_thread import WriterThread
from textual.drivers.linux_driver import LinuxDriver

SYNC_END = "\x1b[?2026l"

ENDS_WITHIN_S = 1.0
"""So long the last writes may take; a terminal that is stuck is left as it is."""

UNFINISHED_S = 0.05
"""Seconds from look to look whether what may be the beginning of a key has waited too long for its rest."""


class TerminalDriver(LinuxDriver):
    """Textual's driver, and what it leaves to luck.

    - The kernel sends SIGCONT along with the SIGHUP of a terminal that goes away. Textual takes it for the
      end of a suspension, and begins anew: a second thread that reads keys, which nobody ever ends.
    - Its writing thread dies of an error of the terminal, and nobody empties its queue any more; its reading
      thread reads an end that never ends. A terminal that is gone ends the console, whoever ignores SIGHUP.
    - Its reading thread looks ten times a second whether it is to end, a fifth of all that an idle console
      costs; and a single byte that is no UTF-8 ends the console. Ours is woken, and passes over such a byte.
    - Whoever writes waits while that queue is full: a terminal that takes nothing (an SSH line that hangs)
      would hold up everything, the worker's log and signals to the console among it. What does not fit is
      left out, and all is drawn again once there is room.
    - Its end waits for the terminal for ever.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        assert self._file is not None
        self._file = cast(TextIOWrapper, _Output(self._file, self._gone))
        self._behind = False
        self._woken, self._wakes = os.pipe()

    def run_input_thread(self) -> None:
        """Hand on what is typed until the input is disabled."""
        parser, decoder = XTermParser(self._debug), getincrementaldecoder("utf-8")("replace")
        with selectors.DefaultSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                unfinished = parser._timeout_time is not None
                ready = {key.fd for key, _ in selector.select(UNFINISHED_S if unfinished else None)}
                if self._woken in ready:
                    os.read(self._woken, 1)
                    return
                if self.fileno in ready:
                    try:
                        data = os.read(self.fileno, 4096)
                    except BlockingIOError:  # somebody else on this terminal was faster
                        continue
                    except OSError:
                        data = b""
                    if not data:
                        self._gone()
                        return
                    if text := decoder.decode(data):  # nothing would be the end
                        for message in parser.feed(text):
                            self.process_message(message)
                for message in parser.tick():
                    self.process_message(message)

    def disable_input(self) -> None:
        """End the reading."""
        if self._key_thread is not None and self._key_thread.is_alive():
            os.write(self._wakes, b"\0")
        super().disable_input()

    def write(self, data: str) -> None:
        """Write, now or never."""
        thread = self._writer_thread
        if thread is None:
            return
        if self._behind:
            if not thread._queue.empty():
                return
            self._behind = False
            self._app.call_later(self._app.refresh)
        try:
            thread._queue.put_nowait(data)
        except Full:
            self._behind = True

    def stop_application_mode(self) -> None:
        """Give the terminal back; that comes before whatever else it has not taken yet."""
        if self._writer_thread is not None and self._behind:
            _clear(self._writer_thread)
            self._behind = False
            self.write(SYNC_END)
        super().stop_application_mode()

    def close(self) -> None:
        """End the writing."""
        thread, self._writer_thread = self._writer_thread, None
        if thread is not None:
            if thread._queue.full():
                _clear(thread)
            thread._queue.put_nowait(None)
            thread.join(ENDS_WITHIN_S)

    def _sigcont_application(self, *_: object) -> None:
        if self._must_signal_resume:  # it was suspended
            super()._sigcont_application()
        else:  # stopped from outside: the terminal may show something else now
            self._app.call_later(self._app.refresh)

    def _gone(self) -> None:
        """In the writing or the reading thread."""
        if (loop := self._app._loop) is not None:
            with suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(self._app.exit, 128 + signal.SIGHUP)


class _Output:
    """Writes to a terminal without Python's buffers, whose locks a thread that is stuck would keep."""

    def __init__(self, stream: TextIO, gone: Callable[[], None]) -> None:
        self._gone = gone
        self._descriptor = stream.fileno()
        self._encoding = stream.encoding
        self._errors = stream.errors or "replace"

    def fileno(self) -> int:
        return self._descriptor

    def flush(self) -> None:
        """Nothing is kept back."""

    def write(self, text: str) -> None:
        """Write all of it; what a terminal that is gone does not take is nobody's."""
        data = memoryview(text.encode(self._encoding, self._errors))
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # as some programs leave a terminal that they shared
                select.select([], [self._descriptor], [])
            except OSError:
                self._gone()
                return


def _clear(thread: WriterThread) -> None:
    with thread._queue.mutex:
        thread._queue.queue.clear()
