"""What is wrong with a database at the moment, in an operator's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from embedq_tui.live.store import Store
from embedq_tui.rendering.keys import key
from embedq_tui.rendering.lines import breaker_reason
from embedq_tui.rendering.words import next_try
from embedq_worker.database.listener import Hearing
from embedq_worker.insights.issues import Code, backlog, orders, serving
from embedq_worker.text import age

_CIRCUIT = {"open": "circuit open", "cooling": "provider rate-limited"}


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
    known = {
        Code.STOPPED,
        Code.PAUSED,
        Code.NO_WORKER,
        Code.DATABASE_REFUSES,
        Code.BACKLOG,
        Code.PROVIDER_OPEN,
        Code.PROVIDER_COOLING,
    }  # from live data
    causes = {Code.SCHEMA, Code.READ_ONLY, Code.COMMITS_WAIT}
    first = (Trouble(issue.message, issue.advice) for issue in judged if issue.code in causes)
    others = (Trouble(issue.message, issue.advice) for issue in judged if issue.code not in known | causes)
    found = [
        *failed,
        *first,
        *_ordered(store),
        *_serving(store),
        *unavailable(store),
        *_backlog(store),
        *others,
    ]
    seconds = store.skew_s()
    if seconds is not None:
        side = "ahead of" if seconds > 0 else "behind"
        found.append(
            Trouble(
                f"the clock of this machine is {age(abs(seconds))} {side} the database's",
                "synchronise the clocks with NTP",
            )
        )
    if store.hearing is Hearing.DEAF:
        found.append(
            Trouble(
                "notifications do not arrive over this connection; polling every second instead",
                "connect directly to the primary server, not to a replica or a transaction-pooling PgBouncer",
            )
        )
    return found


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
        for issue in orders(store.overview.control, now):
            yield Trouble(issue.message, issue.advice)


def _serving(store: Store) -> Iterator[Trouble]:
    """Workers that are missing, or cannot write."""
    if store.overview is not None and store.overview.migrated:
        for issue in serving(store.overview):
            yield Trouble(issue.message, issue.advice)


def _backlog(store: Store) -> Iterator[Trouble]:
    """More pending tasks than health allows, until they are clearly fewer."""
    most = store.allowed_backlog
    if store.overview is not None and most is not None and store.backlogged:
        issue = backlog(store.overview.queue.counts.pending, most, halted=bool(idle(store)))
        yield Trouble(issue.message, issue.advice)


def try_now() -> str:
    """What to do about an unavailable provider, besides the advice of its circuit breaker."""
    return f"{key('app.probe')}: probe it now"


def unavailable(store: Store) -> Iterator[Trouble]:
    """Providers in use that are not being called at the moment, with the time until the next attempt."""
    seen, now = store.overview, store.now()
    if seen is None or now is None:
        return
    for row in seen.held:
        word = _CIRCUIT.get(row.state, row.state)
        if row.state == "open" and row.opened_at:
            word += f" for {age((now - row.opened_at).total_seconds())}"
        advice = f"{row.advice} ({try_now()})" if row.advice else try_now()
        yield Trouble(f"{word}, {next_try(row, seen, now)}: {breaker_reason(row)}", advice)
