"""The frame of every screen: which database this is, whether it responds, and what is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from embedq_tui.live.session import Session
from embedq_tui.live.store import Store
from embedq_tui.rendering.lines import breaker_reason
from embedq_tui.rendering.styles import BAD, DOUBTFUL, GOOD, HEAD, QUIET, badge_style
from embedq_tui.screens import ENTRIES
from embedq_worker.database.listener import Hearing
from embedq_worker.errors import SchemaError
from embedq_worker.insights.health import Code, orders
from embedq_worker.insights.overview import Liveness
from embedq_worker.text import age, printable_line

SPACED = 100
"""Width from which the tabs are spaced out, and can carry numbers."""


TRY_NOW = "n: probe it now"
"""What to do about an unavailable provider, besides the advice of its circuit breaker."""

_CIRCUIT = {"open": "circuit breaker open", "cooling": "provider rate-limited"}


def spread(left: Text, right: Text, width: int) -> Text:
    """Put two texts at the ends of a line; if they do not fit, the left one is cut."""
    room = max(width - right.cell_len - 1, 0)
    line = left.copy()
    line.truncate(room, overflow="ellipsis", pad=True)
    return Text.assemble(line, " " if room else "", right)


def title(session: Session, width: int, *, frozen_s: float | None, ascii_only: bool) -> Text:
    """The title line: the database, and how current the display is.

    Args:
        session: The session with the database.
        width: Available width in cells.
        frozen_s: Age of a frozen display in seconds; None if not frozen.
        ascii_only: Use ASCII characters only.
    """
    profile = session.profile
    left = Text(" embedq ", HEAD)
    word = profile.badge
    if word:
        left.append(f" {printable_line(word, 20).upper()} ", badge_style(profile.badge_colour))
        left.append(" ")
    left.append(printable_line(session.link.place))
    if session.read_only and session.store.access is not None:
        left.append("  READ-ONLY", f"bold {DOUBTFUL}")
    return spread(left, _pulse(session.store, frozen_s, ascii_only), width)


def _pulse(store: Store, frozen_s: float | None, ascii_only: bool) -> Text:
    dot = "*" if ascii_only else "●"
    now, line = store.now(), Text()
    if frozen_s is not None:
        line.append(f"frozen, {age(frozen_s)} old ", f"bold {DOUBTFUL}")
    if store.lost is not None:
        left_s = max(store.lost.retry_at - time.monotonic(), 0.0)
        old = f", data {age(seconds)} old" if (seconds := store.age_s()) is not None else ""
        return line.append(f"{dot} no answer{old}, retry in {age(left_s)} ", BAD)
    if now is None:
        return line.append("no data " if store.error is not None else "connecting ", QUIET)
    if store.hearing is Hearing.LISTENING:
        line.append(f"{dot} live ", GOOD)
    elif store.hearing is Hearing.DEAF:
        line.append(f"{dot} polling ", DOUBTFUL)
    else:
        line.append(f"{dot} not listening ", DOUBTFUL)
    return line.append(f"{now.astimezone():%H:%M:%S} ")


def tabs(current: str, store: Store, width: int) -> Text:
    """The line of tabs; on wide terminals some carry the number of items on that screen."""
    numbers = _numbers(store) if width >= SPACED + 20 else {}
    line = Text(" " if width >= SPACED else "")
    for entry in ENTRIES:
        chosen = entry.name == current
        gap = " " if width >= SPACED else ""
        line.append(f"{gap}{entry.key}{gap}", f"reverse {HEAD}" if chosen else QUIET)
        line.append(f"{entry.title}{gap}", f"reverse {HEAD}" if chosen else "")
        if number := numbers.get(entry.name, 0):
            line.append(f"{number:,} ", f"reverse {HEAD}" if chosen else DOUBTFUL)
        line.append(" ")
    return line


def _numbers(store: Store) -> dict[str, int]:
    if store.overview is None:
        return {}
    stuck = next((m.value for m in store.health.measures if m.name == "stuck"), 0) if store.health else 0
    return {
        "stuck": round(stuck),
        "failures": store.overview.queue.counts.failed,
        "workers": sum(row.liveness is Liveness.ALIVE for row in store.overview.workers),
    }


def alert(store: Store, width: int) -> Text:
    """The worst current problem in one line, with what to do about it; empty if all is well.

    Args:
        store: What is known about the database.
        width: Available width in cells; if needed the message is cut, never the advice.
    """
    if store.lost is not None:
        return Text(f" {printable_line(store.lost.error.message)}", BAD)
    if store.error is not None:
        advice = "M: migrate" if isinstance(store.error, SchemaError) else store.error.advice
        return _with_hint(Text(f" {printable_line(store.error.message)}", BAD), printable_line(advice), width)
    issues = troubles(store)
    if not issues:
        return Text()
    hint = f"(+{len(issues) - 1} more: !)" if len(issues) > 1 else "(advice: !)"
    if store.health is not None and any(issue.code == Code.SCHEMA for issue in store.health.issues):
        hint = f"M: migrate {hint}"
    elif any(_unavailable(store)):
        hint = f"{TRY_NOW} {hint}"
    return _with_hint(Text(f" {printable_line(issues[0].message)}", DOUBTFUL), hint, width)


def _with_hint(message: Text, hint: str, width: int) -> Text:
    line = Text.assemble(message)  # a copy, so that the hint does not inherit its style
    line.truncate(max(width - cell_len(hint) - 2, 20), overflow="ellipsis")
    return line.append(f"  {hint}", QUIET) if hint else line


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
    ordered, unavailable = list(_ordered(store)), list(_unavailable(store))
    judged = () if store.health is None else store.health.issues
    known = {
        Code.STOPPED,
        Code.PAUSED,
        *([Code.PROVIDER_OPEN] if unavailable else []),
    }  # shown from live data instead
    found = ordered + unavailable
    found += [Trouble(issue.message, issue.advice) for issue in judged if issue.code not in known]
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
    return next((trouble.message for trouble in _unavailable(store)), "")


def _ordered(store: Store) -> Iterator[Trouble]:
    """A stop or a pause of all workers, with its age."""
    now = store.now()
    if store.overview is not None and now is not None:
        for issue in orders(store.overview.control, now):
            yield Trouble(issue.message, issue.advice)


def _unavailable(store: Store) -> Iterator[Trouble]:
    """Providers that are not being called at the moment, with the time until the next attempt."""
    now = store.now()
    for row in store.overview.providers if store.overview and now else ():
        if row.state != "closed":
            left_s = (row.retry_at - now).total_seconds() if row.retry_at and now else 0.0
            again = f"retry in {age(left_s)}" if left_s > 0 else "retrying now"
            advice = f"{row.advice} ({TRY_NOW})" if row.advice else TRY_NOW
            yield Trouble(f"{_CIRCUIT.get(row.state, row.state)}, {again}: {breaker_reason(row)}", advice)
