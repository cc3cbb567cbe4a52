"""What `embedq-tui monitor` shows, as lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from rich.text import Text

from embedq_tui.audit_lines import STYLES, WIDE, audit_line
from embedq_tui.output import count
from embedq_worker.insights.audit import AuditRow
from embedq_worker.insights.failures import FailureGroup, Failures
from embedq_worker.insights.overview import Liveness, Overview, ProviderRow, WorkerRow
from embedq_worker.insights.pace import Rates
from embedq_worker.text import age, printable_line

if TYPE_CHECKING:
    from embedq_worker.following import Lost

PIPE = 200
"""Columns of the first line at most, where the output is no terminal."""

BAD, DOUBTFUL, GOOD, QUIET, HEAD = "red", "yellow", "green", "dim", "bold"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look brought.

    Attributes:
        place: The database in words.
        rates: None where nothing is known yet.
        failures: The biggest groups, at most some seconds old.
        audit: The newest first.
    """

    overview: Overview
    place: str
    rates: Rates | None
    failures: Failures
    audit: tuple[AuditRow, ...]


@dataclass(frozen=True, slots=True)
class Trouble:
    """The connection is gone.

    Attributes:
        lost: Why.
        left_s: Seconds until it is tried again.
    """

    lost: Lost
    left_s: float


def state_of(seen: Overview) -> tuple[str, str]:
    """What the workers do, in words, and its style."""
    control = seen.control
    if control.stopped_at:
        return f"Stopped by {control.stopped_by or 'unknown'}", BAD
    if not seen.running:
        return "No worker", BAD if seen.queue.counts.pending else DOUBTFUL
    if control.paused_at:
        return f"Paused by {control.paused_by or 'unknown'}", DOUBTFUL
    return "Running", GOOD


def view(
    seen: Seen, now: datetime, width: int, height: int | None, trouble: Trouble | None = None
) -> list[Text]:
    """The whole of it.

    Args:
        seen: Of the last look.
        now: The database's time, as far as it is known without asking.
        width: Columns there are.
        height: Lines there are; None for as many as it takes.
        trouble: Why the last look is not of now.
    """
    figures = [
        _head(seen, now, width, stale=trouble is not None),
        _trouble(trouble, seen, now),
        *_figures(seen, now),
    ]
    if height is not None and height < len(figures) + 3:
        return figures[:height]
    room = None if height is None else height - len(figures)
    workers = [_worker(row, now) for row in seen.overview.workers]
    groups = [_group(row, now) for row in seen.failures.groups]
    lines = figures + _section("Workers", len(workers), workers, _share(room, 3))
    if groups:
        name = f"Failures: {count(seen.failures.failed, 'task')}"
        left = None if height is None else height - len(lines)
        lines += _section(name, len(groups), groups, _share(left, 3))
    left = None if height is None else height - len(lines)
    if left is None or left >= 3:
        rows = seen.audit if left is None else seen.audit[: left - 2]
        lines += [Text(), Text("Audit", HEAD), *(_audit(row, width) for row in reversed(rows))]
    return lines


def _share(room: int | None, part: int) -> int | None:
    return None if room is None else max(room // part, 3)


def _section(name: str, number: int, lines: Sequence[Text], room: int | None) -> list[Text]:
    """An empty line, a heading, and as many lines as there is room for."""
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


def _trouble(trouble: Trouble | None, seen: Seen, now: datetime) -> Text:
    if trouble is None:
        return Text()
    stale = age((now - seen.overview.at).total_seconds())
    again = "trying" if trouble.left_s <= 0 else f"next try in {age(max(trouble.left_s, 1))}"
    return Text(f"{again}, data {stale} old: {printable_line(trouble.lost.error.message)}", BAD)


def _figures(seen: Seen, now: datetime) -> Iterator[Text]:
    queue, rates = seen.overview.queue, seen.rates
    counts = queue.counts
    yield (
        _labelled("Tasks")
        .append(f"{counts.pending:,} pending", HEAD)
        .append(f"{_grows(rates)}  {counts.processing:,} in hand  {counts.completed:,} completed  ")
        .append(f"{counts.failed:,} failed", BAD if counts.failed else "")
    )
    yield _labelled("Pace").append(_pace(seen))
    yield _labelled("Waiting").append("; ".join(_waiting(seen, now)) or "nothing")
    yield _labelled("Last done").append(_ago(queue.last_completed_at, now))
    for provider in seen.overview.providers:
        yield _provider(provider, now)


def _labelled(name: str) -> Text:
    return Text.assemble((f"{name:<10}", QUIET))


def _grows(rates: Rates | None) -> str:
    if rates is None or rates.pending is None or abs(rates.pending) < 0.5:
        return ""
    return f" ({rates.pending:+,.0f}/min)"


def drain_s(seen: Seen) -> float | None:
    """Seconds until nothing is pending, if nothing comes; None where nobody works or nothing moves."""
    pending = seen.overview.queue.counts.pending
    if not pending:
        return 0.0
    served = seen.overview.running and seen.overview.control.paused_at is None
    return seen.rates.drain_s(pending) if served and seen.rates else None


def _pace(seen: Seen) -> str:
    rates = seen.rates
    if rates is None:
        return "not known yet"
    text = f"{rates.completed:,.1f} done/min"
    if rates.failed:
        text += f", {rates.failed:,.1f} failed/min"
    text += f" (last {age(rates.over_s)})"
    if not seen.overview.queue.counts.pending:
        return text
    seconds = drain_s(seen)
    return f"{text}, not draining" if seconds is None else f"{text}, drained in {age(seconds)}"


def _waiting(seen: Seen, now: datetime) -> Iterator[str]:
    queue = seen.overview.queue
    if queue.oldest_due_at:
        yield f"oldest due for {age((now - queue.oldest_due_at).total_seconds())}"
    if queue.oldest_pending_at:
        yield f"oldest made {_ago(queue.oldest_pending_at, now)}"
    if queue.next_due_at:
        yield f"next due in {age((queue.next_due_at - now).total_seconds())}"


def _provider(provider: ProviderRow, now: datetime) -> Text:
    words = {"closed": ("works", GOOD), "cooling": ("asks for patience", DOUBTFUL), "open": ("held", BAD)}
    word, style = words.get(provider.state, (provider.state, ""))
    line = _labelled("Provider").append(printable_line(word), style)
    if provider.retry_at and provider.state != "closed":
        line.append(f", next try in {age((provider.retry_at - now).total_seconds())}")
    line.append(f": {printable_line(provider.key)}")
    return line.append(f", {printable_line(provider.reason)}") if provider.reason else line


def _worker(worker: WorkerRow, now: datetime) -> Text:
    alive = worker.liveness is Liveness.ALIVE
    beat = age((now - worker.heartbeat_at).total_seconds())
    return Text.assemble(
        f"{printable_line(worker.host)}/{worker.pid}  ",
        (worker.state if alive else worker.liveness.value, GOOD if alive else BAD),
        f"  beat {beat} ago  {worker.in_hand} in hand  {worker.succeeded:,} done  {worker.failed:,} failed",
        f"  {printable_line(worker.note)}" if worker.note else "",
    )


def _group(group: FailureGroup, now: datetime) -> Text:
    size = f"{group.count:,}{'' if group.exact else '+'}"
    seen = _ago(group.last_seen, now)
    return Text(f"{group.fingerprint}  {size:>7}  {seen:>12}  {printable_line(group.error)}")


def _audit(row: AuditRow, width: int) -> Text:
    line = audit_line(row, wide=width >= WIDE)
    error = f"  {printable_line(row.event.error)}" if row.event.error else ""
    return Text(line + error, STYLES.get(row.event.level, ""))


def _ago(when: datetime | None, now: datetime) -> str:
    return "never" if when is None else f"{age((now - when).total_seconds())} ago"
