"""Lines about queue, workers, provider and failures: the same on the dumb screen and in the console."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.text import Text

from embedq_tui.rendering.audit_lines import STYLES, WIDE, audit_line
from embedq_tui.rendering.styles import BAD, DOUBTFUL, GOOD, HEAD, QUIET
from embedq_worker.insights.audit import AuditRow
from embedq_worker.insights.failures import FailureGroup
from embedq_worker.insights.overview import Liveness, Overview, ProviderRow, StatusCounts, WorkerRow
from embedq_worker.insights.pace import Rates
from embedq_worker.text import age, printable_line


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


def labelled(name: str) -> Text:
    """The beginning of a line with a name."""
    return Text.assemble((f"{name:<10}", QUIET))


def counts_line(counts: StatusCounts, rates: Rates | None, width: int) -> Text:
    """How many tasks there are by status, and how fast those that wait grow, where there is room for it.

    Args:
        counts: Of all tasks.
        rates: None where they are not known.
        width: Cells there are.
    """
    line = labelled("Tasks").append(f"{counts.pending:,} pending", HEAD)
    place = len(line)
    line.append(f"  {counts.processing:,} in hand  {counts.completed:,} completed  ")
    line.append(f"{counts.failed:,} failed", BAD if counts.failed else "")
    grows = growth(rates)
    if not grows or line.cell_len + len(grows) + 3 > width:
        return line
    return Text.assemble(line[:place], (f" ({grows})", QUIET), line[place:])


def growth(rates: Rates | None) -> str:
    """By how much the number of those that wait grows; empty where that is not known or nothing."""
    if rates is None or rates.pending is None or abs(rates.pending) < 0.5:
        return ""
    return f"{rates.pending:+,.0f}/min"


def drain_s(seen: Overview, rates: Rates | None) -> float | None:
    """Seconds until nothing is pending, if nothing comes; None where nobody works or nothing moves.

    What moved in the last minute says nothing of the next where every provider is held.
    """
    pending = seen.queue.counts.pending
    if not pending:
        return 0.0
    held = bool(seen.providers) and all(provider.state == "open" for provider in seen.providers)
    served = seen.running and seen.control.paused_at is None and not held
    return rates.drain_s(pending) if served and rates else None


def pace_line(seen: Overview, rates: Rates | None) -> str:
    """How fast the queue moves, and when it is drained."""
    if rates is None:
        return "not known yet"
    text = f"{rates.completed:,.1f} done/min"
    if rates.failed:
        text += f", {rates.failed:,.1f} failed/min"
    text += f" (last {age(rates.over_s)})"
    if not seen.queue.counts.pending:
        return text
    seconds = drain_s(seen, rates)
    return f"{text}, not draining" if seconds is None else f"{text}, drained in {age(seconds)}"


def waiting(seen: Overview, now: datetime) -> Iterator[str]:
    """For how long tasks wait, as far as any does."""
    queue = seen.queue
    if queue.oldest_due_at:
        yield f"oldest due for {age((now - queue.oldest_due_at).total_seconds())}"
    if queue.oldest_pending_at:
        yield f"oldest made {ago(queue.oldest_pending_at, now)}"
    if queue.next_due_at:
        yield f"next due in {age((queue.next_due_at - now).total_seconds())}"


def provider_line(provider: ProviderRow, now: datetime) -> Text:
    """A provider and its breaker."""
    words = {"closed": ("works", GOOD), "cooling": ("asks for patience", DOUBTFUL), "open": ("held", BAD)}
    word, style = words.get(provider.state, (provider.state, ""))
    line = labelled("Provider").append(printable_line(word), style)
    if provider.retry_at and provider.state != "closed":
        line.append(f", next try in {age((provider.retry_at - now).total_seconds())}")
    if provider.reason:
        return line.append(f": {why_held(provider)}")
    return line.append(f": {printable_line(provider.key)}")


def why_held(provider: ProviderRow) -> str:
    """The reason of a breaker, then whose it is: the address that stands in both is told once."""
    reason = provider.reason.removeprefix(provider.key.rpartition(" ")[2]).lstrip(": ")
    return printable_line(f"{reason} ({provider.key})")


def worker_lines(workers: Sequence[WorkerRow], now: datetime) -> Iterator[Text]:
    """Workers, one below the other."""
    places = [printable_line(f"{worker.host}/{worker.pid}", 30) for worker in workers]
    width = max(map(len, places), default=0)
    for worker, place in zip(workers, places, strict=True):
        alive = worker.liveness is Liveness.ALIVE
        beat = age((now - worker.heartbeat_at).total_seconds())
        yield Text.assemble(
            f"{place:<{width}}  ",
            (f"{worker.state if alive else worker.liveness.value:<8}", GOOD if alive else BAD),
            f"  beat {beat:>6} ago  {worker.in_hand:>2} in hand",
            f"  {worker.succeeded:,} done",
            f"  {worker.failed:,} failed" if worker.failed else "",
            f"  {printable_line(worker.note)}" if worker.note else "",
        )


def group_line(group: FailureGroup, now: datetime) -> Text:
    """A group of failures."""
    seen = ago(group.last_seen, now)
    return Text(f"{group.fingerprint}  {group.count:>7,}  {seen:>14}  {printable_line(group.error)}")


def log_line(row: AuditRow, width: int) -> Text:
    """A row of the audit log with its error."""
    line = audit_line(row, wide=width >= WIDE)
    error = f"  {printable_line(row.event.error)}" if row.event.error else ""
    return Text(line + error, STYLES.get(row.event.level, ""))


def advice_here(advice: str, retry: str) -> str:
    """Advice as it is told in the console, where a command has a key.

    Args:
        advice: Of `insights`, which names commands.
        retry: How retrying is called here, with its key.
    """
    return _RETRYING.sub(retry, printable_line(advice))


_RETRYING = re.compile(r"embedq-tui retry (--failed( --group \w+)?|[\w-]{36})")


def ago(when: datetime | None, now: datetime) -> str:
    """How long ago that was."""
    return "never" if when is None else f"{age((now - when).total_seconds())} ago"
