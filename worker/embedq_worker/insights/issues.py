"""What can be wrong with the queue, and what of it the overview alone shows: a console knows that at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from embedq_worker.insights.overview import Control, Overview
from embedq_worker.queue.words import ALONE, REFUSED, UNAVAILABLE, parts_of
from embedq_worker.text import age


class Code(StrEnum):
    """What can be wrong; scripts rely on these codes."""

    SCHEMA = "schema"
    READ_ONLY = "read_only"
    COMMITS_WAIT = "commits_wait"
    STOPPED = "stopped"
    PAUSED = "paused"
    NO_WORKER = "no_worker"
    DATABASE_REFUSES = "database_refuses"
    PROVIDER_OPEN = "provider_open"
    PROVIDER_COOLING = "provider_cooling"
    BACKLOG = "backlog"
    OLDEST_PENDING = "oldest_pending"
    CLOCK = "clock"
    STALLED = "stalled"
    STUCK = "stuck"
    FAILURE_RATE_HOUR = "failure_rate_hour"
    FAILURE_RATE_DAY = "failure_rate_day"
    UNQUEUED = "unqueued"
    COUNT_DRIFT = "count_drift"
    DEAD_ROWS = "dead_rows"


class Issue(NamedTuple):
    """Something that is not as it should be.

    Attributes:
        code: One of `Code`, or a code of a more thorough check.
        message: What is wrong, in one line.
        advice: What to do about it, in one line.
        measured: The value found.
        threshold: The value that is still acceptable.
        unit: Unit of both: ``tasks``, ``articles``, ``s``, ``ratio``, ``counts``.
    """

    code: str
    message: str
    advice: str
    measured: float
    threshold: float
    unit: str


def tasks(number: int) -> str:
    """A number of tasks, in words."""
    return f"{number:,} {'task' if number == 1 else 'tasks'}"


def orders(control: Control, at: datetime) -> Iterator[Issue]:
    """Issues for operators' orders that keep all workers from claiming.

    Args:
        control: The orders.
        at: The database's time.
    """
    for code, since, by, remedy in (
        (Code.STOPPED, control.stopped_at, control.stopped_by, "start"),
        (Code.PAUSED, control.paused_at, control.paused_by, "resume"),
    ):
        if since is not None:
            seconds = max((at - since).total_seconds(), 0.0)
            yield Issue(
                code,
                f"{by or 'someone'} {code} the workers {age(seconds)} ago",
                f"let them go on: embedq-tui {remedy}",
                round(seconds, 1),
                0,
                "s",
            )


def serving(seen: Overview) -> Iterator[Issue]:
    """Issues for workers that are missing, cannot write, or cannot use their provider although others can.

    Args:
        seen: Workers, and whether they have something to do.
    """
    has_work = seen.queue.oldest_due_at is not None or seen.queue.counts.processing > 0
    if not seen.running and seen.control.stopped_at is None and has_work:
        silent = len(seen.workers)
        waits = "due" if seen.queue.oldest_due_at else "claimed"
        yield Issue(
            Code.NO_WORKER,
            f"tasks are {waits}, but no worker is alive"
            + (f"; {silent} stopped sending heartbeats" if silent else ""),
            "start one: embedq-worker; if one is running without heartbeats, its log says why",
            0,
            1,
            "counts",
        )
    alive = seen.alive
    notes = [worker.note for worker in alive if worker.note.startswith(REFUSED)]
    if notes:
        yield Issue(
            Code.DATABASE_REFUSES,
            f"PostgreSQL refuses statements of {len(notes)} of {len(alive)} workers: "
            f"{notes[0].removeprefix(REFUSED)}",
            "correct what it says (end a session that holds a lock: SELECT pg_terminate_backend(PID)); "
            "the workers keep retrying, and no task is charged an attempt",
            len(notes),
            0,
            "counts",
        )
    failed = [worker for worker in alive if worker.note.startswith(UNAVAILABLE + ALONE)]
    if failed:
        first = failed[0]
        _, address = parts_of(first.provider)
        # Lines are cut at their end, which would leave the address alone.
        reason = first.note.removeprefix(UNAVAILABLE + ALONE).removeprefix(address).lstrip(": ")
        more = f" and {len(failed) - 1} more of {len(alive)} workers" if len(failed) > 1 else ""
        yield Issue(
            Code.PROVIDER_OPEN,
            f"the provider fails only for {first.place}{more}: {reason}",
            "its key, proxy or network differs from the others': correct it, and restart the worker",
            len(failed),
            0,
            "counts",
        )


def backlog(pending: int, most: int, *, halted: bool) -> Issue:
    """The issue for more pending tasks than are acceptable, or hardly fewer.

    Args:
        pending: Their number.
        most: How many are acceptable.
        halted: Whether they wait for a known reason, which another worker would not change.
    """
    return Issue(
        Code.BACKLOG,
        f"{tasks(pending)} pending, {'' if pending > most else 'about as many as the '}{most:,} allowed",
        "see what keeps the workers from claiming"
        if halted
        else "run more workers, or raise EMBEDDING_CONCURRENT_WORKERS; pace: embedq-tui metrics",
        pending,
        most,
        "tasks",
    )
