"""A terminal on which lines are redrawn in place, using only what every terminal supports."""

from __future__ import annotations

import errno
import os
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from embedq_tui.commands.output import console

if TYPE_CHECKING:
    from rich.text import Text

_HOME_AND_CLEAR = "\x1b[H\x1b[2J"
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_FALLBACK = os.terminal_size((80, 24))


class Terminal:
    """The whole terminal. A context manager that restores it, with the cursor below the last drawing.

    Typed keys are not echoed, and can be read one by one.
    """

    def __init__(self) -> None:
        self._drawn: list[str] = []
        self._size = _FALLBACK
        self._typing: list[Any] | None = None

    @property
    def size(self) -> os.terminal_size:
        """The current size of the terminal."""
        try:
            size = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            return _FALLBACK
        return size if size.columns and size.lines else _FALLBACK

    @property
    def keys(self) -> int | None:
        """File descriptor to read keys from; None if there is no keyboard."""
        return None if self._typing is None else sys.stdin.fileno()

    def __enter__(self) -> Self:
        self._mute()
        self._size, self._drawn = self.size, []
        self._write(_HIDE + _HOME_AND_CLEAR)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._typing is not None:
            with suppress(termios.error):  # the terminal is gone
                termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, self._typing)
            self._typing = None
        try:
            self._write(f"\x1b[{max(len(self._drawn), 1)};1H\x1b[0m\n{_SHOW}")
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would write it again

    def draw(self, lines: Sequence[Text]) -> None:
        """Show these lines; lines already on screen are not written again.

        Args:
            lines: Cut to the terminal's height and width.

        Raises:
            BrokenPipeError: The terminal is gone.
        """
        size = self.size
        if size != self._size:
            self._size, self._drawn = size, []
            self._write(_HOME_AND_CLEAR)
        drawn = _rendered(lines[: size.lines], size.columns)
        before = self._drawn + [""] * (len(drawn) - len(self._drawn))
        out = [
            f"\x1b[{number};1H{line}\x1b[K"
            for number, (line, old) in enumerate(zip(drawn, before, strict=False), 1)
            if line != old
        ]
        if len(drawn) < len(self._drawn):
            out.append(f"\x1b[{len(drawn) + 1};1H\x1b[J")
        self._drawn = drawn
        if out:
            self._write("".join(out))

    def suspend(self) -> None:
        """Give the terminal back to the shell, and stop this process."""
        self.__exit__(None, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)

    def resume(self) -> None:
        """Take the terminal back from the shell, once this process goes on, whoever had stopped it."""
        with suppress(OSError):  # the terminal is gone
            self.__enter__()

    def forget(self) -> None:
        """Redraw everything next time, because the screen may have been overwritten."""
        self._size = os.terminal_size((0, 0))

    def _mute(self) -> None:
        stdin = sys.stdin
        if stdin is None or not stdin.isatty() or os.tcgetpgrp(stdin.fileno()) != os.getpgrp():
            return  # changing the terminal from the background would stop us
        self._typing = self._typing or termios.tcgetattr(stdin)
        tty.setcbreak(stdin)

    def _write(self, text: str) -> None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError as error:
            if error.errno == errno.EIO:
                raise BrokenPipeError from error
            raise


def _rendered(lines: Sequence[Text], width: int) -> list[str]:
    """Render lines with the terminal's colours, cut to its width."""
    terminal = console()
    terminal.width = width
    rendered = []
    for line in lines:
        with terminal.capture() as captured:
            terminal.print(line, no_wrap=True, overflow="ellipsis", end="")
        rendered.append(captured.get())
    return rendered
