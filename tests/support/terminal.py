"""A program on a terminal of its own, and the contents of that terminal."""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pyte

from tests.support.waiting import until

_MARK = 0
"""A byte that terminals pass over."""


@dataclass
class Terminal:
    """The terminal; the program is in the foreground.

    Attributes:
        process: The program.
        screen: What is shown.
        received: Everything that was written.
    """

    process: asyncio.subprocess.Process
    screen: pyte.Screen
    received: bytearray
    _descriptor: int
    _its: int
    _read: bool = True
    _answers: bool = True
    _unanswered: str = ""

    @property
    def lines(self) -> list[str]:
        """What is shown, without the blanks at the ends."""
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        """What is shown."""
        return "\n".join(self.lines)

    async def until(self, condition: Callable[[str], bool], *, within_s: float = 15.0) -> None:
        """Wait until the screen meets a condition, or the program has ended."""
        looked_at = -1

        def met() -> bool:
            nonlocal looked_at
            if self.process.returncode is not None:
                return True
            if looked_at == len(self.received):  # nothing was drawn since; the emulator's text takes 1 ms
                return False
            looked_at = len(self.received)
            return condition(self.text)

        try:
            await until(met, within_s=within_s)
        except TimeoutError:
            raise AssertionError(f"not on the screen in time:\n{self.text}") from None
        if not condition(self.text):
            await self._heard_out()
        assert condition(self.text), self.text

    def type(self, keys: str | bytes) -> None:
        """Press keys."""
        os.write(self._descriptor, keys.encode() if isinstance(keys, str) else keys)

    def resize(self, columns: int, lines: int) -> None:
        """Change the size, as if a window were resized."""
        self.screen.resize(lines, columns)
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def hang_up(self) -> None:
        """Close the terminal, as when an SSH connection drops."""
        self._read = False
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.dup2(os.open(os.devnull, os.O_RDWR), self._descriptor)
        os.dup2(self._descriptor, self._its)

    def stall(self) -> None:
        """Stop reading the output, as when an SSH connection hangs."""
        self._read = False
        asyncio.get_running_loop().remove_reader(self._descriptor)

    def fall_behind(self) -> None:
        """Take output but answer nothing, as a slow line does behind an SSH server that stores output."""
        self._answers = False

    def catch_up(self) -> None:
        """Answer what was asked since, and go on answering."""
        self._answers = True
        self._answer("")

    def _answer(self, text: str) -> None:
        self._unanswered += text
        if self._answers:
            os.write(self._descriptor, self._unanswered.encode())
            self._unanswered = ""

    def modes(self) -> tuple[bool, bool]:
        """Whether input is echoed and arrives line by line."""
        flags = termios.tcgetattr(self._descriptor)[3]
        return bool(flags & termios.ECHO), bool(flags & termios.ICANON)

    def reset_modes(self) -> None:
        """Let input be echoed and arrive line by line, as a shell does for its prompt."""
        modes = termios.tcgetattr(self._descriptor)
        modes[3] |= termios.ECHO | termios.ICANON
        termios.tcsetattr(self._descriptor, termios.TCSANOW, modes)

    async def ended(self, *, within_s: float = 15.0) -> int:
        """Wait for the end of the program and of its output.

        Returns:
            Its exit code.
        """
        async with asyncio.timeout(within_s):
            code = await self.process.wait()
            await self._heard_out()
        return code

    async def _heard_out(self) -> None:
        """Wait until all output has been read, up to a marker written after it."""
        if not self._read:
            return
        await until(lambda: bool(select.select((), (self._its,), (), 0)[1]))
        os.write(self._its, bytes([_MARK]))
        await until(lambda: _MARK in self.received)
        del self.received[self.received.index(_MARK)]


class _Screen(pyte.Screen):
    """Answers what it is asked."""

    answer: Callable[[str], None]

    def write_process_input(self, data: str) -> None:
        self.answer(data)


@asynccontextmanager
async def terminal(
    arguments: list[str], variables: Mapping[str, str], *, columns: int = 80, lines: int = 24
) -> AsyncIterator[Terminal]:
    """Run a Python program on a terminal of its own; it is gone at the end.

    Args:
        arguments: Of Python.
        variables: Its environment, beside PATH and TERM.
        columns: Of the terminal.
        lines: Of the terminal.
    """
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def take_terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever the tests were started with
        os.setsid()
        fcntl.ioctl(its, termios.TIOCSCTTY, 0)

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        *arguments,
        env={"PATH": os.environ["PATH"], "TERM": "xterm-256color", **variables},
        stdin=its,
        stdout=its,
        stderr=its,
        preexec_fn=take_terminal,
    )
    screen = _Screen(columns, lines)
    stream = pyte.ByteStream(screen)
    received = bytearray()

    def read() -> None:
        try:
            data = os.read(ours, 65_536)
        except OSError:  # how Linux tells that the other side is closed
            data = b""
        if not data:
            loop.remove_reader(ours)
            return
        received.extend(data)
        stream.feed(data)

    loop = asyncio.get_running_loop()
    loop.add_reader(ours, read)
    try:
        program = Terminal(process, screen, received, ours, its)
        screen.answer = program._answer
        yield program
    finally:
        loop.remove_reader(ours)
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        os.close(its)
        os.close(ours)
