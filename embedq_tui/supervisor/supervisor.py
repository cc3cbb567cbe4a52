"""The supervisor of the bundled worker: starts it, ends it, starts it again when it crashes, keeps its log.

The worker is a process in a session of its own. It gets settings and secrets by its environment, writes into
a pipe that is read all the time into a bounded log, and holds one end of a socket, its lifeline: when the
console ends without a word, by SIGHUP, kill -9 or a crash, the worker finishes what it holds and exits. A
worker that is left running on purpose is told so on that line, and where to write its log from then on: into
a file, since nobody reads the pipe any more. While it is supervised there is no file: nothing to rotate,
nothing to clean up, and a full disk cannot matter.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from enum import IntEnum
from math import inf
from time import monotonic
from uuid import UUID

from embedq_tui.invocation import operator
from embedq_tui.supervisor.left import LeftWorker, log_of
from embedq_tui.supervisor.log import LogRing
from embedq_tui.supervisor.process import Listeners, WorkerChild
from embedq_tui.supervisor.types import (
    LastExit,
    Patience,
    WorkerOptions,
    WorkerState,
    arguments,
    overrides,
)
from embedq_worker.configuration import environment_of
from embedq_worker.database.connections import connected
from embedq_worker.errors import ExitCode
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.settings import Settings
from embedq_worker.waits import first_of

NEWS_EVERY_S = 0.05
"""News within this time is told once."""

LEAVE_WITHIN_S = 5.0


class _Urgency(IntEnum):
    NONE = 0
    GRACEFUL = 1
    FORCED = 2
    KILL = 3


class Supervisor:
    """One worker at a time, started and ended on behalf of an operator.

    All of it belongs to one event loop, and nothing in it is called from another thread. Methods that end the
    worker return when it has ended; a more urgent one may be called meanwhile (`force` during `stop`), and
    both return then. To be closed by its owner.

    Args:
        settings: The worker gets the same, secrets too.
        options: See `WorkerOptions`.
        on_change: Called in the event loop when state or log changed; at most every `NEWS_EVERY_S`.
        patience: See `Patience`.

    Attributes:
        options: For the next start.
        state: See `WorkerState`.
        reason: Why the state is what it is, where no operator asked for it; one line, else empty.
        worker_id: In `embedq_workers`, once known; that of the last worker until the next start.
        last_exit: How the last run ended; None before the first has.
        left: The worker that was left running last; None where none was.
        crashes: In a row.
        restart_at: While WAITING: when it is started again, of the clock `time.monotonic`.
        log: What the worker wrote and what happened to it, of all runs; see `LogRing.since`.
    """

    def __init__(
        self,
        settings: Settings,
        options: WorkerOptions | None = None,
        *,
        on_change: Callable[[], None] = lambda: None,
        patience: Patience | None = None,
    ) -> None:
        self.options = options or WorkerOptions()
        self.state = WorkerState.OFF
        self.reason = ""
        self.worker_id: UUID | None = None
        self.last_exit: LastExit | None = None
        self.left: LeftWorker | None = None
        self.crashes = 0
        self.restart_at: float | None = None
        self.log = LogRing()
        self._settings = settings
        self._on_change = on_change
        self._patience = patience or Patience()
        self._child: WorkerChild | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._urgency = _Urgency.NONE
        self._stirred = asyncio.Event()
        self._launched = asyncio.Event()
        self._run_from = 0
        self._news: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """Of the worker's process; None where there is none."""
        return self._child.pid if self._child is not None else None

    @property
    def started_at(self) -> float | None:
        """When the process was started, of the clock `time.monotonic`; None where there is none."""
        return self._child.started_at if self._child is not None else None

    @property
    def alive(self) -> bool:
        """Whether there is a process: what quitting has to ask about."""
        return self._child is not None

    # -- what an operator asks for

    async def start(self) -> None:
        """Start the worker; a crashed one that is waited for at once. Nothing where one runs or is stopping.

        Returns when there is a process, or when none could be made: then the state is WAITING or FAILED.
        """
        if self._keeper is None or self._keeper.done():
            self.crashes = 0
            self._urgency = _Urgency.NONE
            self._launched.clear()
            self._keeper = asyncio.create_task(self._keep())
        elif self.state is WorkerState.WAITING:
            self.crashes = 0
            self._launched.clear()
            self._stirred.set()
        await self._launched.wait()

    async def stop(self) -> None:
        """End the worker: what it holds it finishes within the grace time, and gives back what it cannot.

        One that does not heed SIGTERM gets a second signal after the grace time, then SIGKILL. A crashed one
        is not started again.
        """
        await self._end(_Urgency.GRACEFUL)

    async def force(self) -> None:
        """End the worker without grace: it gives back at once what it holds; SIGKILL if it does not heed."""
        await self._end(_Urgency.FORCED)

    async def kill(self) -> None:
        """SIGKILL to the worker's process group; the next worker, or `reset`, takes back what it held."""
        await self._end(_Urgency.KILL)

    async def restart(self) -> None:
        """Stop gracefully, and start with the options of now."""
        await self.stop()
        await self.start()

    async def reset(self) -> int:
        """End the worker without grace, put back into the queue whatever it still holds, and start it again.

        Returns:
            How many tasks were put back that the worker had not given back itself.

        Raises:
            EmbedqError: The database cannot be asked; the worker was started nevertheless.
        """
        await self.force()
        try:
            return await self._give_back()
        finally:
            await self.start()

    async def leave(self) -> LeftWorker | None:
        """Leave the worker running on purpose, without a supervisor; the console may end then.

        Returns:
            What was left; None where no worker runs, a crashed one is not started again then.
        """
        child = self._child
        if child is None or not child.running:
            await self.stop()
            return None
        await self._cancel_keeper()
        path = log_of(child.pid)
        await child.leave(path, within_s=LEAVE_WITHIN_S)
        self._child = None
        self.left = LeftWorker(child.pid, path)
        self._say(f"its log goes to {path or 'nowhere'}")
        self._become(WorkerState.OFF, f"worker {child.pid} was left running")
        return self.left

    async def close(self) -> None:
        """Let go of everything: no task, pipe or timer is left.

        A worker that still runs finishes what it holds and exits by itself, as when the console dies; this
        does not wait for it. Call `stop` before to see it end, or `leave` to keep it.
        """
        await self._cancel_keeper()
        child, self._child = self._child, None
        if child is not None:
            await child.let_go()
        if self._news is not None:
            self._news.cancel()
            self._news = None
        self.state = WorkerState.OFF

    # -- the keeper

    async def _keep(self) -> None:
        """Run the worker, again when it crashes, until it is to end."""
        try:
            while self._to_be_started_again(await self._run_once()):
                delay_s = self._patience.restart.delay_s(self.crashes - 1)
                self.restart_at = monotonic() + delay_s
                self._become(WorkerState.WAITING, f"started again in {delay_s:.1f} s")
                self._stirred.clear()
                await first_of(self._stirred, timeout_s=delay_s)
                self.restart_at = None
                if self._urgency:
                    self._become(WorkerState.OFF, "")
                    return
        finally:
            self.restart_at = None
            self._launched.set()

    async def _run_once(self) -> LastExit | None:
        """One run of the worker.

        Returns:
            How it ended; None where no process could be made.
        """
        self.worker_id = None
        self._run_from = self.log.next_number
        listeners = Listeners(self._heard, self._started, self._stirred.set)
        settings = self._settings.model_copy(update=overrides(self.options))
        try:
            child = await WorkerChild.start(
                arguments(self.options), environment_of(settings, os.environ), listeners
            )
        except OSError as error:
            self._say(f"no process could be made: {error.strerror or error}")
            self._launched.set()
            return None
        self._child = child
        self._say(f"worker {child.pid} was started")
        self._become(WorkerState.STARTING, "")
        self._launched.set()
        await self._see_out(child)
        await child.let_go()
        self._child = None
        own = [line.text for line in self.log.since(self._run_from) if not line.ours]
        ended = LastExit.of(child, asked=self._urgency > _Urgency.NONE, lines=own)
        self._say(f"worker {child.pid} ended: {ended.describe()}")
        self.last_exit = ended
        return ended

    async def _see_out(self, child: WorkerChild) -> None:
        """Wait for the end of a run; send the signals asked for, and the next where one does nothing."""
        sent, deadline = _Urgency.NONE, inf
        while not child.over:
            if monotonic() >= deadline:
                self._urgency = max(self._urgency, _Urgency(sent + 1))
            if sent < self._urgency:
                sent = self._send(child, sent)
                deadline = monotonic() + self._wait_s(sent)
            self._stirred.clear()
            await first_of(self._stirred, timeout_s=max(deadline - monotonic(), 0))

    def _send(self, child: WorkerChild, sent: _Urgency) -> _Urgency:
        """Send the signal of the present urgency; a worker that is to be forced has to be asked before."""
        if self._urgency is _Urgency.KILL:
            child.kill()
            self._say("SIGKILL to the worker")
            return _Urgency.KILL
        if sent is _Urgency.NONE:
            child.signal(signal.SIGTERM)
            self._become(WorkerState.STOPPING, "")
            self._say("SIGTERM: the worker finishes what it holds")
        if self._urgency is _Urgency.FORCED:
            child.signal(signal.SIGINT)  # not SIGTERM: two of the same, sent at once, are one
            self._say("a second signal: the worker gives back what it holds")
        return self._urgency

    def _wait_s(self, sent: _Urgency) -> float:
        if sent is _Urgency.KILL:
            return inf
        if sent is _Urgency.FORCED:
            return self._patience.forced_s
        grace_s = self._patience.grace_s
        return self._settings.shutdown_grace_ms / 1000 + 1 if grace_s is None else grace_s

    def _to_be_started_again(self, ended: LastExit | None) -> bool:
        if self._urgency:
            self._become(WorkerState.OFF, "")
        elif ended is not None and ended.code == ExitCode.OK:
            switch = self._settings.switched_off
            reason = f"{switch} is false" if switch else "it was asked to end by somebody else"
            self._become(WorkerState.OFF, reason)
        elif ended is not None and ended.code == ExitCode.USAGE:
            self._become(WorkerState.FAILED, "its settings cannot be used: starting again would not help")
        else:
            steady = ended is not None and ended.ran_s >= self._patience.steady_s
            self.crashes = 1 if steady else self.crashes + 1
            if self.crashes < self._patience.crashes:
                return True
            self._become(WorkerState.FAILED, "it is not started again by itself")
        return False

    async def _end(self, urgency: _Urgency) -> None:
        """Raise the urgency, and wait until nothing runs and nothing is waited for."""
        self._urgency = max(self._urgency, urgency)
        self._stirred.set()
        if self._keeper is not None:
            await asyncio.wait([self._keeper])
        if self.state is WorkerState.FAILED:
            self._become(WorkerState.OFF, "")

    async def _cancel_keeper(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None

    async def _give_back(self) -> int:
        """Put back what the last worker still holds, and strike it off where it did not sign off.

        Raises:
            EmbedqError: The database cannot be asked.
        """
        if self.worker_id is None:
            return 0  # it never came to the database
        from embedq_worker.actions.tasks import RELEASE, Run, carry_out, plan
        from embedq_worker.queue import fleet

        async with connected(self._settings) as connection:
            await fleet.declare_dead(connection, [self.worker_id], "reset by its supervisor")
            planned = await plan(connection, RELEASE, TaskFilter(worker=self.worker_id))
            return (await carry_out(Run(connection, planned, operator()))).changed

    # -- news

    def _heard(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.log.add(line)
        self._tell()

    def _started(self, worker: UUID) -> None:
        self.worker_id = worker
        if self.state is WorkerState.STARTING:
            self._become(WorkerState.RUNNING, "")

    def _say(self, text: str) -> None:
        self.log.add(text, ours=True)
        self._tell()

    def _become(self, state: WorkerState, reason: str) -> None:
        self.state, self.reason = state, reason
        if reason:
            self._say(reason)
        self._tell()

    def _tell(self) -> None:
        if self._news is None:
            self._news = asyncio.get_running_loop().call_later(NEWS_EVERY_S, self._told)

    def _told(self) -> None:
        self._news = None
        self._on_change()
