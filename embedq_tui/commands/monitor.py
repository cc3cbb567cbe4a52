"""`embedq-tui monitor`: the queue on one screen, live."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from embedq_tui.capabilities import can_redraw
from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, Seconds, operator_command
from embedq_tui.commands.output import console, print_error, print_json, require_reader, say
from embedq_tui.commands.terminal import Terminal
from embedq_tui.rates import RateMeter, Rates
from embedq_tui.rendering.lines import drain_s
from embedq_tui.rendering.monitor_view import Outage, Seen, view
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.database.following import FailedLook, follow
from embedq_worker.database.line import within
from embedq_worker.errors import MIGRATE, SchemaError
from embedq_worker.insights.audit import AuditFilter, audit_page
from embedq_worker.insights.deaths import DeadWorker, deaths
from embedq_worker.insights.failures import Failures, failures
from embedq_worker.insights.overview import Liveness, Overview, overview
from embedq_worker.insights.vitals import vitals
from embedq_worker.process.running import run
from embedq_worker.text import age
from embedq_worker.waits import first_of

if TYPE_CHECKING:
    from rich.text import Text

PAUSE_S = 0.25
"""At most four refreshes a second, however much happens."""

LOOK_S = 10.0
ROWS = 60
"""Audit rows to read: more than any screen shows."""

GROUPS = 10
DEAR_EVERY_S, DEAR_AT_LEAST_S = 5.0, 30.0
"""How often to ask for what is dear: while it may have changed, and otherwise."""


@click.command("monitor", epilog="Example: embedq-tui monitor --interval 5")
@click.option(
    "--interval",
    type=Seconds(0.2, 3_600),
    default=2.0,
    metavar="SECONDS",
    show_default=True,
    help="Refresh this often while nothing changes; without a terminal, print a line this often.",
)
@click.option("--once", is_flag=True, help="Print it once and exit.")
@operator_command
def command(invocation: Invocation, interval: float, once: bool) -> int:
    """Show the queue live on one screen: counts, rates, workers, provider, failures, audit log.

    Changes show within a fraction of a second. Press `q` or Ctrl-C to quit. If the output is not a terminal,
    or a dumb one, prints one line per interval; with --json, one object. Reconnects for as long as it takes.
    """
    settings = invocation.settings()
    if once:
        seen = ask(settings, lambda connection: anext(_Looker(settings).look(connection)))
        if invocation.as_json:
            print_json(document(seen))
        else:
            terminal = console()
            for line in view(seen, seen.overview.at, terminal.width, None):
                terminal.print(line, no_wrap=True, overflow="ellipsis")
        return 0
    if invocation.as_json or not can_redraw():
        run(_lines(settings, interval, as_json=invocation.as_json))
    return run(_Live(settings, interval).run())


class _Looker:
    """Reads everything the screen shows.

    Args:
        settings: Where the database is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._place = settings.place
        self._meter = RateMeter()
        self._first: Rates | None = None
        self._dear: tuple[Failures, tuple[DeadWorker, ...]] | None = None
        self._dear_of: object = None
        self._dear_at = 0.0

    async def look(self, connection: Connection) -> AsyncIterator[Seen]:
        """Read it once.

        Raises:
            SchemaError: The database is not migrated.
        """
        asked_at = time.monotonic()
        async with within(connection, LOOK_S):
            seen = await overview(connection, self._settings)
            if not seen.migrated:
                raise SchemaError(f"the schema of {self._place} is not up to date", MIGRATE)
            rates = self._meter.add(seen)
            if rates is None and self._first is None:
                last = (await vitals(connection, self._settings)).newest
                minutes = max(last.seconds, 1.0) / 60
                self._first = Rates(last.completed / minutes, last.failed / minutes, None, last.seconds)
            found, dead = await self._dearer(connection, seen)
            rows = (await audit_page(connection, AuditFilter(level="info"), limit=ROWS)).rows
        yield Seen(seen, self._place, rates or self._first, found, dead, rows, asked_at)

    async def _dearer(
        self, connection: Connection, seen: Overview
    ) -> tuple[Failures, tuple[DeadWorker, ...]]:
        """The largest failure groups and the dead workers, refreshed only now and then."""
        elapsed_s = time.monotonic() - self._dear_at
        of = seen.queue.counts.failed, {worker.id for worker in seen.workers}
        if self._dear is None or elapsed_s > (DEAR_EVERY_S if of != self._dear_of else DEAR_AT_LEAST_S):
            self._dear = await failures(connection, limit=GROUPS), await deaths(connection)
            self._dear_of, self._dear_at = of, time.monotonic()
        return self._dear


async def _lines(settings: Settings, interval: float, *, as_json: bool) -> None:
    """Print one line per interval, for ever."""
    lost = False
    looks = follow(settings, _Looker(settings).look, every_s=0.0, pause_s=interval)
    async with aclosing(looks):
        async for found in looks:
            require_reader()
            if isinstance(found, FailedLook):
                lost = True
                print_error(f"{found.error.message}; retrying in {age(found.retry_in_s)}")
                continue
            if lost:
                lost = False
                print_error("reconnected")
            if as_json:
                print_json(document(found), compact=True)
            else:
                say(_line(found))


def document(seen: Seen) -> dict[str, object]:
    """The JSON form of one refresh."""
    queue, rates, workers = seen.overview.queue, seen.rates, seen.overview.workers
    return {
        "at": seen.overview.at,
        "database": seen.place,
        "state": _state(seen.overview),
        "queue": queue.counts,
        "completed_per_min": round(rates.completed, 2) if rates else None,
        "failed_per_min": round(rates.failed, 2) if rates else None,
        "over_s": round(rates.over_s, 3) if rates else None,
        "drain_s": None if (seconds := drain_s(seen.overview, seen.rates)) is None else round(seconds, 1),
        "oldest_due_at": queue.oldest_due_at,
        "oldest_pending_at": queue.oldest_pending_at,
        "last_completed_at": queue.last_completed_at,
        "workers": {
            "alive": len(seen.overview.alive),
            "silent": sum(worker.liveness is Liveness.SILENT for worker in workers),
            "in_hand": sum(worker.in_hand for worker in workers),
            "dead": len(seen.dead),
        },
        "providers": [{"key": each.key, "state": each.state} for each in seen.overview.providers],
        "failures": [
            {"fingerprint": group.fingerprint, "count": group.count, "error": group.error}
            for group in seen.failures.groups
        ],
    }


def _state(seen: Overview) -> str:
    if seen.control.stopped_at:
        return "stopped"
    if not seen.running:
        return "no worker"
    return "paused" if seen.control.paused_at else "running"


def _line(seen: Seen) -> str:
    """One line of name=value pairs."""
    counts, rates, workers = seen.overview.queue.counts, seen.rates, seen.overview.workers
    left_s, due = drain_s(seen.overview, seen.rates), seen.overview.queue.oldest_due_at
    waited_s = None if due is None else (seen.overview.at - due).total_seconds()
    held = [provider.key for provider in seen.overview.providers if provider.state != "closed"]
    figures = {
        "state": _state(seen.overview).replace(" ", "-"),
        "pending": counts.pending,
        "processing": counts.processing,
        "completed": counts.completed,
        "failed": counts.failed,
        "completed_per_min": f"{rates.completed:.1f}" if rates else "-",
        "failed_per_min": f"{rates.failed:.1f}" if rates else "-",
        "drain_s": "-" if left_s is None else f"{left_s:.0f}",
        "oldest_due_s": "-" if waited_s is None else f"{waited_s:.0f}",
        "workers": len(seen.overview.alive),
        "in_hand": sum(worker.in_hand for worker in workers),
        "held_providers": len(held),
    }
    time = f"{seen.overview.at.astimezone():%Y-%m-%d %H:%M:%S}"
    return " ".join([time, *(f"{name}={value}" for name, value in figures.items())])


class _Live:
    """A screen that keeps itself up to date.

    Args:
        settings: Where the database is.
        interval_s: Seconds between refreshes while nothing changes.
    """

    def __init__(self, settings: Settings, interval_s: float) -> None:
        self._settings = settings
        self._interval_s = interval_s
        self._changed = asyncio.Event()
        self._end: int | None = None
        self._seen: Seen | None = None
        self._lost: FailedLook | None = None
        self._retry_at = 0.0

    async def run(self) -> int:
        """Show it until the operator quits.

        Returns:
            The exit code.
        """
        looker = asyncio.create_task(self._look())
        try:
            # The screen opens after the first successful read: an error before that needs none.
            while self._seen is None and not looker.done():
                await self._news()
            if not looker.done():
                with Terminal() as terminal:
                    self._listen(terminal)
                    while self._end is None and not looker.done():
                        terminal.draw(self._view(terminal.size))
                        await self._news()
            if looker.done():
                looker.result()
            return self._end or 0
        finally:
            looker.cancel()
            await asyncio.wait([looker])

    async def _news(self) -> None:
        """Wait for something new, at most a second: ages and the clock keep moving."""
        await first_of(self._changed, timeout_s=1.0)
        self._changed.clear()

    async def _look(self) -> None:
        try:
            looks = follow(
                self._settings,
                _Looker(self._settings).look,
                every_s=self._interval_s,
                pause_s=PAUSE_S,
            )
            async with aclosing(looks):
                async for found in looks:
                    self._take(found)
        finally:
            self._changed.set()

    def _take(self, found: Seen | FailedLook) -> None:
        if isinstance(found, FailedLook):
            self._lost, self._retry_at = found, time.monotonic() + found.retry_in_s
        else:
            self._seen, self._lost = found, None
        self._changed.set()

    def _view(self, size: os.terminal_size) -> list[Text]:
        assert self._seen is not None
        clock = time.monotonic()
        outage = None
        if self._lost is not None:
            outage = Outage(self._lost, self._retry_at - clock)
        now = self._seen.overview.at + timedelta(seconds=clock - self._seen.asked_at)
        return view(self._seen, now, size.columns, size.lines, outage)

    def _listen(self, terminal: Terminal) -> None:
        """Listen to keys, and to signals from the terminal and from other programs."""
        loop = asyncio.get_running_loop()

        def end(code: int) -> None:
            self._end = code
            self._changed.set()

        def typed(keys: int) -> None:
            data = os.read(keys, 1_024)
            if not data:  # the terminal is gone
                end(128 + signal.SIGHUP)
            elif {*b"qQ\x04"} & {*data}:
                end(0)

        def resume() -> None:
            terminal.resume()
            self._changed.set()

        def redraw() -> None:
            terminal.forget()
            self._changed.set()

        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it
                loop.add_signal_handler(number, end, 128 + number)
        loop.add_signal_handler(signal.SIGWINCH, redraw)
        loop.add_signal_handler(signal.SIGTSTP, terminal.suspend)
        loop.add_signal_handler(signal.SIGCONT, resume)
        if terminal.keys is not None:
            loop.add_reader(terminal.keys, typed, terminal.keys)
