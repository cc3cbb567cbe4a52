"""`embedq-tui status`: workers and queue at a glance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import click

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, operator_command
from embedq_tui.commands.output import print_json, say_wrapped
from embedq_tui.rendering.outcomes import death_words, deaths_words
from embedq_tui.rendering.words import ago, count, moment, next_try
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.insights.deaths import DeadWorker, deaths
from embedq_worker.insights.overview import Liveness, Overview, ProviderRow, QueueFigures, WorkerRow, overview
from embedq_worker.queue.words import PROVIDER_STATES


@click.command("status", epilog="Example: embedq-tui status --json")
@operator_command
def command(invocation: Invocation) -> None:
    """Show the workers and the queue at a glance.

    The first six lines are stable: scripts may parse them. "Running" means that at least one worker sends
    heartbeats and no operator has stopped the workers.
    """
    settings = invocation.settings()
    seen, dead = ask(settings, lambda connection: look(connection, settings))
    if invocation.as_json:
        print_json(_document(seen, dead, settings))
        return
    for line in status_lines(seen, dead, settings):
        say_wrapped(line, 4)


async def look(connection: Connection, settings: Settings) -> tuple[Overview, Sequence[DeadWorker]]:
    """Read the overview, and the workers that died lately."""
    seen = await overview(connection, settings)
    return seen, await deaths(connection) if seen.migrated else ()


def _document(seen: Overview, dead: Sequence[DeadWorker], settings: Settings) -> dict[str, object]:
    queue = seen.queue
    counts = queue.counts
    return {
        "at": seen.at,
        "database": settings.place,
        "migrated": seen.migrated,
        "worker": {
            "running": seen.running,
            "stopped_at": seen.control.stopped_at,
            "stopped_by": seen.control.stopped_by,
            "paused_at": seen.control.paused_at,
            "paused_by": seen.control.paused_by,
            "workers": seen.workers,
            "dead": dead,
            "fleet": seen.fleet,
        },
        "queue": {
            "pending": counts.pending,
            "processing": counts.processing,
            "completed": counts.completed,
            "failed": counts.failed,
            "total": queue.total,
            "by_priority": queue.by_priority,
            "oldest_pending_at": queue.oldest_pending_at,
            "oldest_due_at": queue.oldest_due_at,
            "next_due_at": queue.next_due_at,
            "last_completed_at": queue.last_completed_at,
        },
        "providers": seen.providers,
    }


def status_lines(seen: Overview, dead: Sequence[DeadWorker], settings: Settings) -> Iterator[str]:
    """The human-readable answer, line by line."""
    queue = seen.queue
    yield f"Worker Status: {'Running' if seen.running else 'Stopped'}"
    yield "Queue Statistics:"
    yield f"Pending: {queue.counts.pending}"
    yield f"Processing: {queue.counts.processing}"
    yield f"Completed: {queue.counts.completed}"
    yield f"Failed: {queue.counts.failed}"
    yield ""
    yield f"Database: {settings.place}"
    if not seen.migrated:
        yield "Schema: not up to date, only counts are available; run: embedq-tui --migrate"
    yield from _orders(seen)
    yield from _workers(seen)
    yield from _dead(dead, seen.at)
    if queue.cancelled:
        yield f"Failed tasks that an operator cancelled: {queue.cancelled}"
    if seen.migrated:
        yield from _times(queue, seen.at)
    for provider in seen.providers:
        yield from _provider(provider, seen)


def _orders(seen: Overview) -> Iterator[str]:
    control = seen.control
    if control.stopped_at:
        yield f"Stopped: {moment(control.stopped_at, seen.at)} by {control.stopped_by or 'unknown'}"
        yield "  let them go on: embedq-tui start"
    if control.paused_at:
        yield f"Paused: {moment(control.paused_at, seen.at)} by {control.paused_by or 'unknown'}"
        yield "  let them go on: embedq-tui resume"


def _workers(seen: Overview) -> Iterator[str]:
    if not seen.workers:
        if seen.fleet and seen.fleet.last_heartbeat:
            yield f"Workers: none running; last heartbeat {moment(seen.fleet.last_heartbeat, seen.at)}"
        else:
            yield "Workers: none"
        return
    yield f"Workers: {len(seen.workers)}"
    for worker in seen.workers:
        yield f"  {_worker(worker, seen.at)}"


def _dead(dead: Sequence[DeadWorker], now: datetime) -> Iterator[str]:
    if dead:
        yield f"Workers: {deaths_words(dead)}"
    for worker in dead:
        parts = worker.place, moment(worker.died_at, now), death_words(worker)
        yield f"  {'  '.join(parts)}  ({worker.note})"
    if any(worker.unreturned for worker in dead):
        yield "  any running worker takes tasks of dead ones back; without one: embedq-tui reset-stuck"


def _worker(worker: WorkerRow, now: datetime) -> str:
    parts = [
        worker.place,
        worker.state if worker.liveness is Liveness.ALIVE else worker.liveness.value,
        f"heartbeat {ago(worker.heartbeat_at, now)}",
        f"{worker.in_hand} held",
        f"{worker.succeeded:,} done",
        f"{worker.failed:,} failed",
    ]
    remarks = [*_limits(worker), worker.note] if worker.note else _limits(worker)
    return "  ".join(parts) + (f"  ({'; '.join(remarks)})" if remarks else "")


def _limits(worker: WorkerRow) -> list[str]:
    """The priorities and folders it is limited to, if any."""
    limits = [worker.settings.get(name) for name in ("priorities", "folders")]
    return [f"only {', '.join(map(str, limit))}" for limit in limits if isinstance(limit, list) and limit]


def _times(queue: QueueFigures, now: datetime) -> Iterator[str]:
    if queue.oldest_pending_at:
        yield f"Oldest pending: {moment(queue.oldest_pending_at, now)}"
    if queue.oldest_due_at:
        yield f"Oldest due: {moment(queue.oldest_due_at, now)}"
    elif queue.next_due_at:
        yield f"Next due: {moment(queue.next_due_at, now)}"
    yield f"Last completed: {moment(queue.last_completed_at, now)}"


def _provider(provider: ProviderRow, seen: Overview) -> Iterator[str]:
    line = f"Provider: {provider.key}: {PROVIDER_STATES.get(provider.state, provider.state)}"
    if provider.state != "closed":
        line += f", {next_try(provider, seen, seen.at)}"
    if provider.failures:
        line += f", {count(provider.failures, 'consecutive failure')}"
    yield line
    if provider.reason:
        yield f"  {provider.reason}"
    if provider.advice:
        yield f"  {provider.advice}"
