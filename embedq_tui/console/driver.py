"""The terminal, which may disappear, block or be slow at any moment."""

from __future__ import annotations

import asyncio
import os
import select
import selectors
import signal
import termios
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from queue import Full
from types import FrameType
from typing import Any, TextIO, cast

from textual._xterm_parser import XTermParser
from textual.drivers._writer_thread import MAX_QUEUED_WRITES, WriterThread
from textual.drivers.linux_driver import LinuxDriver

from embedq_tui.console.answers import Answers
from embedq_tui.console.pace import Pace
from embedq_tui.console.screen_buffer import ScreenBuffer

ERASE = "\x1b[0m\x1b[2J"

ENDING = 15
"""Writes, at most, that restore the terminal."""

ENDS_WITHIN_S = 1.0
"""Seconds the final writes may take; a stuck terminal is left as it is."""

LOOK_S = 0.05
"""Seconds between looks whether the shell has put a suspended console into the foreground."""

UNFINISHED_S = 0.05
"""Seconds between checks whether an incomplete key sequence has waited too long for its rest."""


class TerminalDriver(LinuxDriver):
    """Textual's driver, hardened where it relies on a well-behaved terminal.

    - When a terminal disappears, the kernel sends SIGCONT along with SIGHUP. Textual takes it for the end of
      a suspension and starts again, with a second reader thread that nobody ever stops.
    - Its writer thread dies of a terminal error, and its queue is no longer emptied; its reader thread reads
      end-of-file for ever. Here, a vanished terminal ends the console, even if SIGHUP is ignored.
    - Its reader thread wakes ten times a second to see whether it should stop, a fifth of the CPU time of an
      idle console; and one invalid UTF-8 byte, or a key by a number that it does not know, ends the console.
      Ours is woken, and skips these.
    - Writers block while the queue is full: a terminal that takes no output (a hanging SSH connection) would
      stall everything, including the worker's log and signals to the console; and on a slow line, a key is
      answered after all that is queued. Here, frames are not queued: what differs from the last one is drawn
      once the terminal has drawn that.
    - On exit it waits for the terminal for ever.
    - It leaves its last frame on the alternate screen. tmux (3.3a) shows wide rows of it above the shell's
      prompt if the window was resized meanwhile. Here, the alternate screen is left blank.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        assert self._file is not None
        self._buffer = ScreenBuffer()
        self._pace = Pace()
        self._file = cast(TextIOWrapper, _Output(self._file, self._buffer, self._pace, self._gone))
        self._woken, self._wakes = os.pipe()
        self._parser = XTermParser(self._debug)

    def run_input_thread(self) -> None:
        """Deliver typed input until the input is disabled."""
        self._parser, answers = XTermParser(self._debug), Answers(self._answered)
        decoder = getincrementaldecoder("utf-8")("replace")
        with selectors.DefaultSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                unfinished = self._parser._timeout_time is not None or answers.waiting
                ready = {key.fd for key, _ in selector.select(UNFINISHED_S if unfinished else None)}
                if self._woken in ready:
                    os.read(self._woken, 1)
                    return
                if self.fileno in ready:
                    try:
                        data = os.read(self.fileno, 4096)
                    except BlockingIOError:  # another process on this terminal read it first
                        continue
                    except OSError:
                        data = b""
                    if not data:
                        self._gone()
                        return
                    self._typed(answers.without(decoder.decode(data)))
                self._typed(answers.rest())
                for message in self._parser.tick():
                    self.process_message(message)

    def _answered(self) -> None:
        self._pace.answered()
        self.write("")  # draws what was held back

    def _typed(self, text: str) -> None:
        if not text:  # would mean end-of-file
            return
        try:
            for message in self._parser.feed(text):
                self.process_message(message)
        except (ValueError, OverflowError):  # a key that no keyboard has
            self._parser = XTermParser(self._debug)

    def disable_input(self) -> None:
        """Stop the reader thread."""
        if self.suspended:
            return
        if self._key_thread is not None and self._key_thread.is_alive():
            os.write(self._wakes, b"\0")
        super().disable_input()

    def write(self, data: str) -> None:
        """Draw a frame once the terminal takes it; queue anything else, or drop it if the queue is full."""
        if (thread := self._writer_thread) is None:
            return
        if self._buffer.take(data, self._app.size.height):
            if not thread._queue.empty():  # the frame is drawn after what is queued
                return
            data = ""
        with suppress(Full):
            thread._queue.put_nowait(data)

    def start_application_mode(self) -> None:
        """Take the terminal over."""
        super().start_application_mode()  # type: ignore[no-untyped-call]
        with suppress(termios.error):
            self._modes = termios.tcgetattr(self.fileno)
        if callable(resized := signal.getsignal(signal.SIGWINCH)):

            def lost(number: int, frame: FrameType | None) -> None:
                self._buffer.lose()
                resized(number, frame)

            signal.signal(signal.SIGWINCH, lost)

    def stop_application_mode(self) -> None:
        """Restore the terminal, ahead of any output it has not taken yet."""
        if self.suspended:
            return
        self._buffer.drop()
        self._pace.settle()
        if (thread := self._writer_thread) is not None and thread._queue.qsize() > MAX_QUEUED_WRITES - ENDING:
            _clear(thread)
        self.write(ERASE)
        super().stop_application_mode()

    @property
    def suspended(self) -> bool:
        """Whether the terminal has been given back for now."""
        return self._writer_thread is None

    @contextmanager
    def given_back(self) -> Iterator[None]:
        """Give the terminal back for the block; what is typed meanwhile is not for the console."""
        self.suspend_application_mode()
        yield
        with suppress(termios.error):
            termios.tcflush(self.fileno, termios.TCIFLUSH)
        self.resume_application_mode()
        self.redraw()

    async def stop(self) -> None:
        """Stop, with the rest of the shell's job, until the shell lets it go on in the foreground.

        Where no shell could, as after `ssh -t host embedq-tui`, the kernel does not stop it.
        """
        while True:
            ours = {
                number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTSTP, signal.SIGCONT)
            }
            os.kill(0, signal.SIGTSTP)
            for number, handler in ours.items():
                signal.signal(number, handler)
            if self._in_foreground():
                return
            await asyncio.sleep(LOOK_S)
            if self._app._exit:  # another signal has woken it in order to end it, which cancels this
                await asyncio.Event().wait()

    def close(self) -> None:
        """Stop the writer thread."""
        thread, self._writer_thread = self._writer_thread, None
        if thread is not None:
            if thread._queue.full():
                _clear(thread)
            thread._queue.put_nowait(None)
            thread.join(ENDS_WITHIN_S)

    def _sigtstp_application(self, *_: object) -> None:
        self._soon(self._app.call_later, self._app.run_action, "suspend")

    def _sigcont_application(self, *_: object) -> None:
        self._soon(self._continued)

    def _continued(self) -> None:
        """Stopped from outside until now: a shell may have changed the modes and overwritten the screen."""
        if self.suspended:
            return
        if self._in_foreground():  # in the background, it would be stopped again
            with suppress(termios.error):
                termios.tcsetattr(self.fileno, termios.TCSANOW, self._modes)
        self._enable_bracketed_paste()
        signal.raise_signal(signal.SIGWINCH)  # of another size meanwhile, only the shell was told
        self._app.call_later(self.redraw)

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self.fileno) == os.getpgrp()
        except OSError:  # the terminal is gone, or not this session's
            return True

    def redraw(self) -> None:
        """Draw everything: the terminal no longer shows what was drawn."""
        self._buffer.lose()
        self._pace.begin()
        self._app.refresh()

    def _gone(self) -> None:
        """End the console; called from the writer or the reader thread."""
        self._pace.begin()
        self._soon(self._app.exit, 128 + signal.SIGHUP)

    def _soon(self, call: Callable[..., object], *arguments: object) -> None:
        """Call it in the event loop: what a signal interrupts may be `write`, with the lock of its queue."""
        if (loop := self._app._loop) is not None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(call, *arguments)


class _Output:
    """Writes to the terminal without Python's buffers, whose locks a stuck thread would hold."""

    def __init__(self, stream: TextIO, buffer: ScreenBuffer, pace: Pace, gone: Callable[[], None]) -> None:
        self._buffer = buffer
        self._pace = pace
        self._gone = gone
        self._descriptor = stream.fileno()
        self._encoding = stream.encoding
        self._errors = stream.errors or "replace"

    def fileno(self) -> int:
        return self._descriptor

    def flush(self) -> None:
        """Draw: called by the writer thread whenever nothing else is queued."""
        frame = self._buffer.changes() if self._pace.allows() else ""
        self.write(frame + self._pace.sent(len(frame)))

    def write(self, text: str) -> None:
        """Write all of it; output to a vanished terminal is dropped."""
        data = memoryview(text.encode(self._encoding, self._errors))
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # some programs leave a shared terminal non-blocking
                select.select([], [self._descriptor], [])
            except OSError:
                self._gone()
                return


def _clear(thread: WriterThread) -> None:
    with thread._queue.mutex:
        thread._queue.queue.clear()
