"""Lines about queue, workers, provider, failures and audit log, shared by `monitor` and the console."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime

from rich.text import Text

from embedq_tui.rates import Rates
from embedq_tui.rendering.audit_lines import STYLES, details_of, subject_of
from embedq_tui.rendering.outcomes import death_words, reason_without_name
from embedq_tui.rendering.styles import BAD, DOUBTFUL, GOOD, HEAD, NAME, QUIET
from embedq_tui.rendering.words import ago, next_try
from embedq_worker.insights.audit import AuditRow
from embedq_worker.insights.deaths import DeadWorker
from embedq_worker.insights.events import Event
from embedq_worker.insights.failures import FailureGroup
from embedq_worker.insights.overview import Liveness, Overview, ProviderRow, QueueFigures, WorkerRow
from embedq_worker.queue.words import PROVIDER_STATES, UNANSWERED
from embedq_worker.text import age, printable_line

WIDE, VERY_WIDE = 100, 150
"""Widths from which date and category of a row of the audit log fit, and its task."""

CUT = 400
"""Characters of one text of such a row that a line shows at most."""


def state_of(seen: Overview) -> tuple[str, str]:
    """The state of the workers in a word or two, and its style."""
    control = seen.control
    if control.stopped_at:
        return f"Stopped by {control.stopped_by or 'unknown'}", BAD
    if not seen.running:
        return "No worker", BAD if seen.queue.counts.pending else DOUBTFUL
    if control.paused_at:
        return f"Paused by {control.paused_by or 'unknown'}", DOUBTFUL
    if seen.refused:
        return "Refused by the database", BAD
    held = {row.key: row.state for row in seen.held if row.key in seen.served}
    if held and held.keys() == seen.served:
        return "Waiting for the provider", BAD if "open" in held.values() else DOUBTFUL
    return "Running", GOOD


def state_of_worker(worker: WorkerRow) -> tuple[str, str]:
    """The same of one worker; what it is waiting for is in its note."""
    if worker.liveness is not Liveness.ALIVE:
        return worker.liveness.value, BAD
    if worker.note and worker.state == "running":
        return "running" if worker.note.startswith(UNANSWERED) else "idle", DOUBTFUL
    return worker.state, GOOD


def labelled(name: str) -> Text:
    """The label that begins a line."""
    return Text.assemble((f"{name:<10}", QUIET))


def counts_line(queue: QueueFigures, rates: Rates | None, width: int) -> Text:
    """The number of tasks by status and, if it fits, of those cancelled, and how fast the backlog grows.

    Args:
        queue: The queue in numbers.
        rates: None if unknown.
        width: Available width in cells.
    """
    counts = queue.counts
    line = labelled("Tasks").append(f"{counts.pending:,} pending", HEAD)
    place = len(line)
    line.append(f"  {counts.processing:,} processing  {counts.completed:,} completed  ")
    line.append(f"{counts.failed:,} failed", BAD if counts.failed > queue.cancelled else "")
    cancelled = f" ({queue.cancelled:,} cancelled)" if queue.cancelled else ""
    if line.cell_len + len(cancelled) <= width:
        line.append(cancelled, QUIET)
    grows = growth(rates) if counts.pending else ""
    if not grows or line.cell_len + len(grows) + 3 > width:
        return line
    return Text.assemble(line[:place], (f" ({grows})", QUIET), line[place:])


def growth(rates: Rates | None) -> str:
    """How fast the backlog grows or shrinks; empty if unknown or about zero."""
    if rates is None or rates.pending is None or abs(rates.pending) < 0.5:
        return ""
    return f"{'growing' if rates.pending > 0 else 'shrinking'} by {abs(rates.pending):,.0f}/min"


def drain_s(seen: Overview, rates: Rates | None) -> float | None:
    """Seconds until the queue is empty if nothing is added; None if it is not being worked off.

    The rate of the last minute says nothing about the next while every circuit breaker is open.
    """
    pending = seen.queue.counts.pending
    if not pending:
        return 0.0
    blocked = bool(seen.served) and seen.served <= {row.key for row in seen.held if row.state == "open"}
    served = seen.running and seen.control.paused_at is None and not blocked
    return rates.drain_s(pending) if served and rates else None


def pace_line(seen: Overview, rates: Rates | None) -> str:
    """How fast the queue moves, and for how long there is work at this pace; more may arrive."""
    if rates is None:
        return "not yet known"
    text = f"{_rate(rates.completed)} done/min"
    if rates.failed:
        text += f", {_rate(rates.failed)} failed/min"
    text += f" (last {age(rates.over_s)})"
    if not seen.queue.counts.pending:
        return text
    seconds = drain_s(seen, rates)
    return f"{text}, not draining" if seconds is None else f"{text}, {age(seconds)} of work pending"


def _rate(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"


def waiting(seen: Overview, now: datetime) -> Iterator[str]:
    """How long tasks have been waiting, if any are."""
    queue = seen.queue
    if queue.oldest_due_at:
        yield f"longest due for {age((now - queue.oldest_due_at).total_seconds())}"
    if queue.oldest_pending_at:
        yield f"oldest {age((now - queue.oldest_pending_at).total_seconds())} old"
    if queue.next_due_at:
        yield f"next due in {age((queue.next_due_at - now).total_seconds())}"


def provider_line(provider: ProviderRow, seen: Overview, now: datetime) -> Text:
    """A provider and the state of its circuit breaker."""
    word = PROVIDER_STATES.get(provider.state, provider.state)
    style = {"closed": GOOD, "cooling": DOUBTFUL, "open": BAD}.get(provider.state, "")
    line = labelled("Provider").append(printable_line(word), style)
    if provider.opened_at and provider.state == "open":
        line.append(f" for {age((now - provider.opened_at).total_seconds())}")
    if provider.state != "closed":
        line.append(f", {next_try(provider, seen, now)}")
    if provider.reason:
        failed = ", last request failed" if provider.state == "closed" else ""
        return line.append(f"{failed}: {breaker_reason(provider)}")
    return line.append(f": {printable_line(provider.key)}")


def breaker_reason(provider: ProviderRow) -> str:
    """Why a circuit breaker is not closed, and which provider's; what is in both is shown only once."""
    return printable_line(f"{reason_without_name(provider.reason, provider.key)} ({provider.key})")


def _idle_note(worker: WorkerRow) -> str:
    """Why a worker is idle; which provider it waits for is told elsewhere."""
    word, colon, reason = worker.note.partition(": ")
    return f"{word}{colon}{reason_without_name(reason, worker.provider)}"


def place_of(host: str, pid: int, width: int) -> str:
    """Where a worker runs, in so many characters: its domain can be spared, its number and pid cannot.

    Args:
        host: May hold anything.
        pid: Its process.
        width: Maximum number of characters.
    """
    whole = printable_line(f"{host}/{pid}")
    if len(whole) <= width:
        return whole
    name = host.partition(".")[0]
    short = whole if name.isdigit() else printable_line(f"{name}/{pid}")
    if len(short) <= width:
        return short
    end = width // 2
    return f"{short[: width - end - 1]}…{short[len(short) - end :]}"


def worker_lines(workers: Sequence[WorkerRow], now: datetime) -> Iterator[Text]:
    """One line per worker; why it is idle comes before figures that could push it off the screen."""
    places = [place_of(worker.host, worker.pid, 26) for worker in workers]
    width = max(map(len, places), default=0)
    held = max((len(f"{worker.in_hand:,}") for worker in workers), default=0)
    done = max((len(f"{worker.succeeded:,}") for worker in workers), default=0)
    for worker, place in zip(workers, places, strict=True):
        alive = worker.liveness is Liveness.ALIVE
        word, style = state_of_worker(worker)
        yield Text.assemble(
            f"{place:<{width}}  ",
            (f"{word:<8}", style),
            "" if alive else (f"  seen {ago(worker.heartbeat_at, now)}", BAD),
            (f"  {printable_line(_idle_note(worker))}", DOUBTFUL) if worker.note else "",
            f"  {worker.in_hand:>{held},} held  {worker.succeeded:>{done},} done",
            f"  {worker.failed:,} failed" if worker.failed else "",
        )


def dead_lines(dead: Sequence[DeadWorker], now: datetime) -> Iterator[Text]:
    """One line per worker that died lately."""
    for worker in dead:
        style = BAD if worker.unreturned else QUIET
        yield Text.assemble(
            f"{place_of(worker.host, worker.pid, 26)}  ",
            ("dead    ", BAD if worker.unreturned else DOUBTFUL),
            (f"  {ago(worker.died_at, now)}  {death_words(worker)}  {printable_line(worker.note)}", style),
        )


def group_line(group: FailureGroup, now: datetime) -> Text:
    """One line for a failure group."""
    seen = ago(group.last_seen, now)
    return Text(f"{group.fingerprint}  {group.count:>7,}  {seen:>14}  {printable_line(group.error)}")


def audit_text(row: AuditRow, width: int, today: date) -> Text:
    """A row of the audit log on one line.

    Args:
        row: Its texts may hold anything.
        width: Available width in cells.
        today: Today's date in local time.
    """
    event = row.event
    style = STYLES.get(event.level, "")
    line = Text(no_wrap=True)
    line.append(f"{_written(event, width, today)} ", QUIET)
    line.append(f"{printable_line(event.level, 5):<5} ", style or QUIET)
    if width >= WIDE:
        line.append(f"{printable_line(event.category, 16):<16} ", QUIET)
    line.append(printable_line(event.message[:CUT]), style)
    if subject := subject_of(row):
        line.append(f"  {printable_line(subject[:CUT])}", NAME if event.level != "debug" else QUIET)
    if event.error:
        line.append(f"  {printable_line(event.error[:CUT])}", BAD if event.level == "error" else style)
    for part in details_of(event):
        line.append(f"  {printable_line(part[:CUT])}", QUIET)
    if width >= VERY_WIDE and row.task_id is not None:
        line.append(f"  task {row.task_id}", QUIET)
    return line


def _written(event: Event, width: int, today: date) -> str:
    at = event.at.astimezone()
    if width >= WIDE:
        return f"{at:%m-%d %H:%M:%S}"
    return f"{at:%H:%M:%S}" if at.date() == today else f"{at:%d. %H:%M}"
