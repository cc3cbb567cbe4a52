"""What is wrong with a database at the moment, in an operator's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from embedq_tui.live.store import Store
from embedq_tui.rendering.keys import key
from embedq_tui.rendering.lines import breaker_reason
from embedq_tui.rendering.words import next_try
from embedq_worker.database.listener import Hearing
from embedq_worker.insights.issues import Code, Issue, backlog, orders, serving
from embedq_worker.queue.words import PROVIDER_STATES
from embedq_worker.text import age

_LIVE = {
    Code.STOPPED,
    Code.PAUSED,
    Code.NO_WORKER,
    Code.DATABASE_REFUSES,
    Code.BACKLOG,
    Code.PROVIDER_OPEN,
    Code.PROVIDER_COOLING,
}
"""Issues that live data tell, sooner than the verdict."""

_CAUSES = {Code.SCHEMA, Code.READ_ONLY, Code.COMMITS_WAIT}
"""Issues that may be why there are others."""


class Trouble(NamedTuple):
    """A problem.

    Attributes:
        message: What is wrong, in one line.
        advice: What to do about it; may be empty.
    """

    message: str
    advice: str = ""


def troubles(store: Store) -> list[Trouble]:
    """Every current problem while the database responds, the most severe first."""
    failed = () if store.error is None else (Trouble(store.error.message, store.error.advice),)
    judged = () if store.health is None else store.health.issues
    return [
        *failed,
        *(_told(issue) for issue in judged if issue.code in _CAUSES),
        *_ordered(store),
        *_serving(store),
        *unavailable(store),
        *_backlog(store),
        *(_told(issue) for issue in judged if issue.code not in _LIVE | _CAUSES),
        *_apart(store),
    ]


def _told(issue: Issue) -> Trouble:
    return Trouble(issue.message, issue.advice)


def idle(store: Store) -> str:
    """Why no worker claims tasks at the moment; empty if nothing is known to prevent it."""
    seen = store.overview
    if seen is None:
        return ""
    for trouble in _ordered(store):
        return trouble.message
    if not seen.running:
        return "no worker is running"
    causes = _serving(store) if seen.refused else unavailable(store)
    return next((trouble.message for trouble in causes), "")


def _ordered(store: Store) -> Iterator[Trouble]:
    """A stop or a pause of all workers, with its age."""
    now = store.now()
    if store.overview is not None and now is not None:
        yield from map(_told, orders(store.overview.control, now))


def _serving(store: Store) -> Iterator[Trouble]:
    """Workers that are missing, or cannot write."""
    if store.overview is not None and store.overview.migrated:
        yield from map(_told, serving(store.overview))


def _backlog(store: Store) -> Iterator[Trouble]:
    """More pending tasks than health allows, until they are clearly fewer."""
    most = store.allowed_backlog
    if store.overview is not None and most is not None and store.backlogged:
        yield _told(backlog(store.overview.queue.counts.pending, most, halted=bool(idle(store))))


def _apart(store: Store) -> Iterator[Trouble]:
    """What is between this console and the database: clocks that differ, notifications that do not arrive."""
    if (seconds := store.skew_s()) is not None:
        side = "ahead of" if seconds > 0 else "behind"
        yield Trouble(
            f"the clock of this machine is {age(abs(seconds))} {side} the database's",
            "synchronise the clocks with NTP",
        )
    if store.hearing is Hearing.DEAF:
        yield Trouble(
            "notifications do not arrive over this connection; polling every second instead",
            "connect directly to the primary server, not to a replica or a transaction-pooling PgBouncer",
        )


def try_now() -> str:
    """What to do about an unavailable provider, besides the advice of its circuit breaker."""
    return f"{key('app.probe')}: probe it now"


def unavailable(store: Store) -> Iterator[Trouble]:
    """Providers in use that are not being called at the moment, with the time until the next attempt."""
    seen, now = store.overview, store.now()
    if seen is None or now is None:
        return
    for row in seen.held:
        word = PROVIDER_STATES.get(row.state, row.state)
        if row.state == "open" and row.opened_at:
            word += f" for {age((now - row.opened_at).total_seconds())}"
        advice = f"{row.advice} ({try_now()})" if row.advice else try_now()
        yield Trouble(f"{word}, {next_try(row, seen, now)}: {breaker_reason(row)}", advice)
