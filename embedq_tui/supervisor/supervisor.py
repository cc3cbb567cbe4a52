"""The supervisor of the console's worker: starts and stops it, restarts it after a crash, keeps its log.

The worker is a process in a session of its own. It receives settings and secrets through its environment and
writes to a pipe, which is read continuously into a bounded log. It holds one end of a socket, its lifeline:
when the console dies by SIGHUP, kill -9 or a crash, the worker finishes its tasks and exits. A worker that is
deliberately left running is told so over that socket, together with the file to log to from then on, since
nobody reads the pipe any more. While it is supervised there is no log file: nothing to rotate or clean up,
and a full disk does no harm.
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

from embedq_tui.supervisor.left import LeftWorker, log_of
from embedq_tui.supervisor.log import LogRing
from embedq_tui.supervisor.process import Listeners, WorkerChild
from embedq_tui.supervisor.types import LastExit, Patience, WorkerState
from embedq_worker.configuration.loading import environment_of
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import connected
from embedq_worker.errors import ExitCode
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.waits import first_of

NEWS_EVERY_S = 0.05
"""Changes within this many seconds are reported once."""

LEAVE_WITHIN_S = 5.0


class _Urgency(IntEnum):
    NONE = 0
    GRACEFUL = 1
    FORCED = 2
    KILL = 3


class Supervisor:
    """Runs one worker at a time on behalf of the operator.

    It belongs to one event loop; do not call it from other threads. Methods that stop the worker return once
    it has ended; a more urgent one may be called in the meantime (`force` during `stop`), and then both
    return. Its owner must call `close`.

    Args:
        settings: Passed on to the worker, including secrets.
        by: The operator as ``user@host``.
        on_change: Called in the event loop when state or log changed, at most every `NEWS_EVERY_S`.
        patience: See `Patience`.

    Attributes:
        state: See `WorkerState`.
        reason: Why it is in this state, in one line; empty if the operator asked for it.
        worker_id: Id in `embedq_workers`, once known; kept until the next start.
        last_exit: How the last run ended; None before that.
        left: The worker last left running; None if none was.
        crashes: Number of consecutive crashes.
        restart_at: While WAITING: time of the restart, by `time.monotonic`.
        log: The worker's output and events of all runs; see `LogRing.since`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        by: str,
        on_change: Callable[[], None] = lambda: None,
        patience: Patience | None = None,
    ) -> None:
        self.state = WorkerState.OFF
        self.reason = ""
        self.worker_id: UUID | None = None
        self.last_exit: LastExit | None = None
        self.left: LeftWorker | None = None
        self.crashes = 0
        self.restart_at: float | None = None
        self.log = LogRing()
        # Log lines that can be read, and without colours, as it writes to no terminal.
        self._settings = settings.model_copy(update={"log_format": "text"})
        self._by = by
        self._on_change = on_change
        self._patience = patience or Patience()
        self._child: WorkerChild | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._urgency = _Urgency.NONE
        self._stirred = asyncio.Event()
        self._launched = asyncio.Event()
        self._news: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the worker; None if there is no process."""
        return self._child.pid if self._child is not None else None

    @property
    def started_at(self) -> float | None:
        """When the process was started, by `time.monotonic`; None if there is no process."""
        return self._child.started_at if self._child is not None else None

    @property
    def alive(self) -> bool:
        """Whether there is a process, about which quitting has to ask."""
        return self._child is not None

    # -- requests of the operator

    async def start(self) -> None:
        """Start the worker, or restart a crashed one at once. Does nothing if one is running or stopping.

        Returns once there is a process, or none could be started; then the state is WAITING or FAILED.
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
        """Stop the worker: it finishes its tasks within the grace time, and releases the rest.

        If it ignores SIGTERM, it gets a second signal after the grace time, then SIGKILL. A crashed worker is
        not restarted.
        """
        await self._end(_Urgency.GRACEFUL)

    async def force(self) -> None:
        """Stop the worker without grace: it releases its tasks at once; SIGKILL if it does not react."""
        await self._end(_Urgency.FORCED)

    async def restart(self) -> None:
        """Stop gracefully, and start again with the current options."""
        await self.stop()
        await self.start()

    async def reset(self) -> int:
        """Stop the worker without grace, release any tasks it still holds, and start it again.

        Returns:
            Number of tasks released that the worker had not released itself.

        Raises:
            EmbedqError: The database failed; the worker was started nevertheless.
        """
        await self.force()
        try:
            return await self._give_back()
        finally:
            await self.start()

    async def leave(self) -> LeftWorker | None:
        """Leave the worker running without a supervisor, so that the console can quit.

        Returns:
            The worker left; None if none is running. A crashed one is not restarted then.
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
        self._say(f"it logs to {path or 'nowhere'} from now on")
        self._become(WorkerState.OFF, f"worker {child.pid} was left running")
        return self.left

    async def close(self) -> None:
        """Release everything: no task, pipe or timer remains.

        A worker that is still running finishes its tasks and exits by itself, as when the console dies; this
        does not wait for it. To see it end call `stop` first; to keep it running call `leave`.
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
        """Run the worker, restarting it after crashes, until it is to stop."""
        try:
            while self._to_be_restarted(await self._run_once()):
                delay_s = self._patience.restart.delay_s(self.crashes - 1)
                self.restart_at = monotonic() + delay_s
                self._become(WorkerState.WAITING, f"restarting in {delay_s:.1f} s")
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
        """Run the worker once.

        Returns:
            How it ended; None if no process could be started.
        """
        self.worker_id = None
        listeners = Listeners(self._heard, self._started, self._stirred.set)
        try:
            child = await WorkerChild.start(environment_of(self._settings, os.environ), listeners)
        except OSError as error:
            self._say(f"the process could not be started: {error.strerror or error}")
            self._launched.set()
            return None
        self._child = child
        self._say(f"worker {child.pid} started")
        self._become(WorkerState.STARTING, "")
        self._launched.set()
        await self._see_out(child)
        await child.let_go()
        self._child = None
        assert child.returncode is not None
        ended = LastExit(child.returncode, monotonic() - child.started_at)
        self._say(f"worker {child.pid} ended: {ended.describe()}")
        self.last_exit = ended
        return ended

    async def _see_out(self, child: WorkerChild) -> None:
        """Wait for a run to end; send the requested signals, and escalate if they have no effect."""
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
        """Send the signal for the current urgency; forcing a worker means asking it first."""
        if self._urgency is _Urgency.KILL:
            child.kill()
            self._say("SIGKILL sent to the worker")
            return _Urgency.KILL
        if sent is _Urgency.NONE:
            child.signal(signal.SIGTERM)
            self._become(WorkerState.STOPPING, "")
            self._say("SIGTERM sent: the worker finishes its tasks")
        if self._urgency is _Urgency.FORCED:
            child.signal(signal.SIGINT)  # not SIGTERM: two identical pending signals merge into one
            self._say("second signal sent: the worker releases its tasks")
        return self._urgency

    def _wait_s(self, sent: _Urgency) -> float:
        if sent is _Urgency.KILL:
            return inf
        if sent is _Urgency.FORCED:
            return self._patience.forced_s
        grace_s = self._patience.grace_s
        return self._settings.shutdown_grace_ms / 1000 + 1 if grace_s is None else grace_s

    def _to_be_restarted(self, ended: LastExit | None) -> bool:
        if self._urgency:
            self._become(WorkerState.OFF, "")
        elif ended is not None and ended.code == ExitCode.OK:
            switch = self._settings.switched_off
            reason = f"{switch} is false" if switch else "it was stopped from elsewhere"
            self._become(WorkerState.OFF, reason)
        elif ended is not None and ended.code == ExitCode.USAGE:
            self._become(WorkerState.FAILED, "its settings are invalid, so restarting would not help")
        else:
            steady = ended is not None and ended.ran_s >= self._patience.steady_s
            self.crashes = 1 if steady else self.crashes + 1
            if self.crashes < self._patience.crashes:
                return True
            self._become(WorkerState.FAILED, "too many crashes: it is not restarted automatically")
        return False

    async def _end(self, urgency: _Urgency) -> None:
        """Raise the urgency, and wait until the worker has ended and no restart is pending."""
        self._urgency = max(self._urgency, urgency)
        self._stirred.set()
        if self._keeper is not None:
            await asyncio.wait([self._keeper])
        self.crashes = 0  # an end on request ends the row of crashes
        if self.state is WorkerState.FAILED:
            self._become(WorkerState.OFF, "")

    async def _cancel_keeper(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None

    async def _give_back(self) -> int:
        """Release tasks the last worker still holds, and declare it dead if it did not sign off.

        Raises:
            EmbedqError: The database failed.
        """
        if self.worker_id is None:
            return 0  # it never reached the database
        from embedq_worker.actions.tasks import RELEASE, Run, carry_out, plan
        from embedq_worker.queue import fleet

        async with connected(self._settings) as connection:
            await fleet.declare_dead(connection, [self.worker_id], "reset by its supervisor")
            planned = await plan(connection, RELEASE, TaskFilter(worker=self.worker_id))
            return (await carry_out(Run(connection, planned, self._by))).changed

    # -- notifications

    def _heard(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.log.add(line)
        self._notify()

    def _started(self, worker: UUID) -> None:
        self.worker_id = worker
        if self.state is WorkerState.STARTING:
            self._become(WorkerState.RUNNING, "")

    def _say(self, text: str) -> None:
        self.log.add(text, ours=True)
        self._notify()

    def _become(self, state: WorkerState, reason: str) -> None:
        self.state, self.reason = state, reason
        if reason:
            self._say(reason)
        self._notify()

    def _notify(self) -> None:
        if self._news is None:
            self._news = asyncio.get_running_loop().call_later(NEWS_EVERY_S, self._notify_now)

    def _notify_now(self) -> None:
        self._news = None
        self._on_change()
