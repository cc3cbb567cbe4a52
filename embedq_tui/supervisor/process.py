"""A worker as a child process: its output, its lifeline, its exit.

`asyncio.subprocess` kills a child when its transport is closed, but this one may be released and live on. A
thread waits for it, as asyncio itself does on many systems, so that it never becomes a zombie.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from uuid import UUID

from embedq_tui.supervisor.log import LineCutter
from embedq_worker.configuration.loading import NO_FILE
from embedq_worker.service.lifeline import LEAVE, STARTED

_READ = 65_536
_LAST_WORDS_S = 1.0
"""Seconds to wait for the rest of an ended worker's output: its own children may hold the pipe open."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Callbacks, all called in the event loop.

    Attributes:
        lines: With lines the worker wrote to standard output or error.
        started: When the worker has connected to its database; with its id in `embedq_workers`.
        ended: When it has ended; not after `WorkerChild.let_go`.
    """

    lines: Callable[[Sequence[str]], None]
    started: Callable[[UUID], None]
    ended: Callable[[], None]


class WorkerChild:
    """One run of a worker, in its own session, so that the terminal's signals do not reach it.

    Created by `start`. It ends by itself, by `signal` or `kill`, or when its lifeline is closed.

    Attributes:
        pid: Of the process, and of its process group.
        started_at: By `time.monotonic`.
        returncode: Exit code, or the negative number of the signal that ended it; None while running.
        over: It has ended and all its output has been read.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        line: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        listeners: Listeners,
    ) -> None:
        self.pid = process.pid
        self.started_at = monotonic()
        self.returncode: int | None = None
        self.over = False
        self._process = process
        self._listeners = listeners
        self._line_in, self._line_out = line
        self._ended = asyncio.Event()
        self._output_ended = asyncio.Event()
        threading.Thread(
            target=self._reap, args=(asyncio.get_running_loop(),), name=f"worker {self.pid}", daemon=True
        ).start()
        self._tasks = [
            asyncio.create_task(self._read_output()),
            asyncio.create_task(self._hold_line()),
            asyncio.create_task(self._see_end()),
        ]

    @classmethod
    async def start(cls, environment: Mapping[str, str], listeners: Listeners) -> WorkerChild:
        """Start a worker.

        Args:
            environment: The complete environment, including settings and secrets.
            listeners: The callbacks.

        Raises:
            OSError: The process cannot be started.
        """
        ours, its = socket.socketpair()
        with its:
            line = await asyncio.open_connection(sock=ours)
            try:
                return cls(_spawn(environment, its.fileno()), line, listeners)
            except BaseException:
                line[1].close()
                raise

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.returncode is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the worker, unless it has ended."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL to the worker's process group."""
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def leave(self, log: Path | None, *, within_s: float) -> None:
        """Tell the worker to carry on alone, and release it.

        Args:
            log: Its log file from now on; None for no log.
            within_s: Seconds to wait for its confirmation; it obeys even if it confirms late.
        """
        try:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(within_s):
                    self._line_out.write(os.fsencode(f"{LEAVE} {log or NO_FILE}\n"))
                    await self._line_out.drain()
                    await self._output_ended.wait()
        finally:
            await self.let_go()

    async def let_go(self) -> None:
        """Close lifeline and output: unless told to carry on, the worker finishes its tasks and exits.

        Call it for every child, also after it has ended, to free its resources.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- tasks

    async def _read_output(self) -> None:
        assert self._process.stdout is not None
        reader = asyncio.StreamReader(limit=_READ)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._process.stdout
        )
        cutter = LineCutter()
        try:
            while data := await reader.read(_READ):
                if lines := cutter.feed(data):
                    self._listeners.lines(lines)
        except OSError:
            pass  # same as end-of-file
        finally:
            if rest := cutter.rest():
                self._listeners.lines([rest])
            self._output_ended.set()
            transport.close()

    async def _hold_line(self) -> None:
        try:
            while word := (await self._line_in.readline()).decode(errors="replace").strip():
                name, _, value = word.partition(" ")
                if name == STARTED:
                    self._listeners.started(UUID(value))
            await asyncio.Event().wait()  # the worker closes the line when it exits, we close it in `let_go`
        except (OSError, ValueError):
            await asyncio.Event().wait()  # ignored: the end of the process will be noticed anyway
        finally:
            self._line_out.close()
            with suppress(OSError):
                await self._line_out.wait_closed()

    async def _see_end(self) -> None:
        await self._ended.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._output_ended.wait()
        self.over = True
        self._listeners.ended()

    def _reap(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the process, in a thread that lives on even after `let_go`."""
        code = self._process.wait()
        with suppress(RuntimeError):  # the loop is closed: nobody needs to know
            loop.call_soon_threadsafe(self._note_end, code)

    def _note_end(self, code: int) -> None:
        self.returncode = code
        self._ended.set()


def _spawn(environment: Mapping[str, str], lifeline: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "embedq_worker"),
            *("--lifeline", str(lifeline), "--env-file", str(NO_FILE)),
        ],
        env=dict(environment),
        bufsize=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(lifeline,),
        start_new_session=True,
    )
