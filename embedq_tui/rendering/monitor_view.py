"""The lines that `embedq-tui monitor` shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from rich.text import Text

from embedq_tui.rates import Rates
from embedq_tui.rendering.lines import (
    audit_text,
    counts_line,
    dead_lines,
    group_line,
    labelled,
    pace_line,
    provider_line,
    state_of,
    waiting,
    worker_lines,
)
from embedq_tui.rendering.outcomes import deaths_words
from embedq_tui.rendering.styles import BAD, HEAD, QUIET
from embedq_tui.rendering.words import ago, count
from embedq_worker.insights.audit import AuditRow
from embedq_worker.insights.deaths import DeadWorker
from embedq_worker.insights.failures import Failures
from embedq_worker.insights.overview import Overview
from embedq_worker.text import age, printable_line

if TYPE_CHECKING:
    from embedq_worker.database.following import FailedLook

PIPE = 200
"""Maximum width of the first line if the output is not a terminal."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The result of one refresh.

    Attributes:
        place: The database, in words.
        rates: None if not yet known.
        failures: The largest groups, at most some seconds old.
        dead: Workers that died lately, the latest first; as old as the groups.
        audit: Newest first.
        asked_at: When it was asked for, by `time.monotonic`.
    """

    overview: Overview
    place: str
    rates: Rates | None
    failures: Failures
    dead: tuple[DeadWorker, ...]
    audit: tuple[AuditRow, ...]
    asked_at: float


@dataclass(frozen=True, slots=True)
class Outage:
    """The connection is lost.

    Attributes:
        lost: Why.
        left_s: Seconds until the next attempt.
    """

    lost: FailedLook
    left_s: float


def view(
    seen: Seen, now: datetime, width: int, height: int | None, outage: Outage | None = None
) -> list[Text]:
    """The whole screen.

    Args:
        seen: From the last refresh.
        now: The database's time, extrapolated from the last refresh.
        width: Available columns.
        height: Available lines; None for no limit.
        outage: Why the last refresh is out of date.
    """
    figures = [
        _head(seen, now, width, stale=outage is not None),
        _outage(outage, seen, now),
        *_figures(seen, now, width),
    ]
    if height is not None and height < len(figures) + 3:
        return figures[:height]
    room = None if height is None else height - len(figures)
    workers = [*worker_lines(seen.overview.workers, now), *dead_lines(seen.dead, now)]
    died = f": {deaths_words(seen.dead)}" if seen.dead else ""
    name = f"Workers, by their last heartbeat{died}"
    groups = [group_line(row, now) for row in seen.failures.groups]
    lines = figures + _section(name, len(workers), workers, _share(room, 3))
    if groups:
        name = f"Failures: {count(seen.failures.failed, 'task')}"
        left = None if height is None else height - len(lines)
        lines += _section(name, len(groups), groups, _share(left, 3))
    left = None if height is None else height - len(lines)
    if left is None or left >= 3:
        rows = seen.audit if left is None else seen.audit[: left - 2]
        today = now.astimezone().date()
        lines += [Text(), Text("Audit", HEAD), *(audit_text(row, width, today) for row in reversed(rows))]
    return lines


def _share(room: int | None, part: int) -> int | None:
    return None if room is None else max(room // part, 3)


def _section(name: str, number: int, lines: Sequence[Text], room: int | None) -> list[Text]:
    """An empty line, a heading, and as many lines as fit."""
    shown = lines if room is None else lines[: room - 2]
    hidden = f", {len(shown)} shown" if len(shown) < number else ""
    return [Text(), Text(f"{name} ({number}{hidden})", HEAD), *shown]


def _head(seen: Seen, now: datetime, width: int, *, stale: bool) -> Text:
    word, style = state_of(seen.overview)
    clock = f"{now.astimezone():%H:%M:%S}"
    line = Text.assemble(
        ("embedq  ", HEAD),
        (printable_line(word), QUIET if stale else style),
        f"  {printable_line(seen.place)}",
    )
    line.truncate(max(min(width, PIPE) - len(clock) - 2, 0), overflow="ellipsis", pad=True)
    return line.append(f"  {clock}", QUIET)


def _outage(outage: Outage | None, seen: Seen, now: datetime) -> Text:
    if outage is None:
        return Text()
    stale = age((now - seen.overview.at).total_seconds())
    again = "reconnecting" if outage.left_s <= 0 else f"reconnecting in {age(max(outage.left_s, 1))}"
    return Text(f"{again}, data {stale} old: {printable_line(outage.lost.error.message)}", BAD)


def _figures(seen: Seen, now: datetime, width: int) -> Iterator[Text]:
    queue, rates = seen.overview.queue, seen.rates
    yield counts_line(queue, rates, width)
    yield labelled("Pace").append(pace_line(seen.overview, rates))
    yield labelled("Waiting").append("; ".join(waiting(seen.overview, now)) or "nothing")
    yield labelled("Last done").append(ago(queue.last_completed_at, now))
    for provider in seen.overview.providers:
        yield provider_line(provider, seen.overview, now)
