"""Lines about the queue: what they say fits, and is so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from embedq_tui.rates import Rates
from embedq_tui.rendering.lines import counts_line, place_of, provider_line, worker_lines
from embedq_tui.rendering.words import ago, next_try
from embedq_worker.insights.overview import Overview, ProviderRow, StatusCounts
from embedq_worker.queue.words import UNANSWERED
from tests.console.canned_world import overview, workers

AT = datetime(2026, 1, 1, tzinfo=UTC)
RATES = Rates(completed=3_600.0, failed=0.0, pending=-3_600.0, over_s=60.0)
PLACE = "http://127.0.0.1:5598/v1"


def seen(*alive: str) -> Overview:
    """A queue with a living worker of each of these providers."""
    using = tuple(worker._replace(provider=key) for key in alive for worker in workers())
    return overview(StatusCounts(pending=1), using)


def provider(state: str, reason: str = "") -> ProviderRow:
    again = AT + timedelta(minutes=2)
    return ProviderRow(f"openai/m {PLACE}", state, "unavailable", reason, "", 5, AT, again)


def test_counts_are_whole_at_80_columns_and_the_growth_is_told_where_there_is_room() -> None:
    counts = StatusCounts(pending=18_220, processing=120, completed=1_225_760, failed=16_000)
    queue = overview(counts, ()).queue
    narrow, wide = counts_line(queue, RATES, 78), counts_line(queue, RATES, 118)
    grows = counts_line(queue, RATES._replace(pending=3_600.0), 118)
    assert narrow.cell_len <= 78
    assert "16,000 failed" in narrow.plain
    assert "3,600/min" not in narrow.plain
    assert "3,600/min" in wide.plain
    assert "3,600/min" in grows.plain
    assert grows.plain != wide.plain


def test_cancelled_tasks_are_not_shown_as_failures() -> None:
    queue = overview(StatusCounts(failed=60), ()).queue
    apart, mixed = [counts_line(queue._replace(cancelled=number), None, 78) for number in (60, 59)]
    alarm = counts_line(queue, None, 78).spans[-1].style
    assert "60 failed (60" in apart.plain
    assert alarm not in {span.style for span in apart.spans}
    assert alarm in {span.style for span in mixed.spans}


@pytest.mark.parametrize("reason", [": All connection attempts failed", " answered 429: quota exceeded"])
def test_why_a_provider_is_held_is_read_at_80_columns(reason: str) -> None:
    row = provider("open", PLACE + reason)
    line = provider_line(row, seen(row.key), AT).plain
    assert reason.lstrip(": ") in line[:78]
    assert line.count(PLACE) == 1


def test_a_probe_under_way_counts_up_and_where_nobody_will_try_again_nothing_is_counted_down() -> None:
    row = provider("open")
    probing = row._replace(probing_since=AT - timedelta(seconds=17), retry_at=AT + timedelta(seconds=8))
    assert "2 min" in next_try(row, seen(row.key), AT)
    assert "17 s" in next_try(probing, seen(row.key), AT)
    assert "8 s" not in next_try(probing, seen(row.key), AT)
    assert "2 min" not in next_try(row, seen("another"), AT)


@pytest.mark.parametrize("width", [20, 26])
def test_workers_on_hosts_with_long_names_can_be_told_apart(width: int) -> None:
    hosts = [f"embed-prod-worker-0{n}.fra1.example.internal" for n in (1, 2)] + [
        "192.168.100.201",
        "192.168.100.202",
    ]
    places = [place_of(host, pid, width) for host in hosts for pid in (1_234_567, 1_234_568)]
    assert len(set(places)) == len(places)
    assert all(len(place) <= width for place in places)
    assert place_of("alpha.example", 4711, width) == "alpha.example/4711"


def test_a_worker_that_waits_for_an_answer_is_not_idle() -> None:
    for note, state in ((f"{UNANSWERED}40 s", "running"), ("paused by an operator", "idle")):
        (line,) = worker_lines([workers()[0]._replace(note=note)], AT)
        assert f"  {state} " in line.plain
        assert note in line.plain


def test_a_heartbeat_from_before_a_clock_was_set_back_does_not_seem_to_be_of_just_now() -> None:
    hours = timedelta(hours=5)
    assert ago(AT - hours, AT) != ago(AT, AT) != ago(AT + hours, AT)
