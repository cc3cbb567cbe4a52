"""Lines about the queue: what they say fits, and is so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from embedq_tui.rendering.lines import counts_line, place_of, provider_line
from embedq_worker.insights.overview import ProviderRow, StatusCounts
from embedq_worker.insights.pace import Rates

AT = datetime(2026, 1, 1, tzinfo=UTC)
RATES = Rates(completed=3_600.0, failed=0.0, pending=-3_600.0, over_s=60.0)
PLACE = "http://127.0.0.1:5598/v1"


def provider(state: str, reason: str = "") -> ProviderRow:
    again = AT + timedelta(minutes=2)
    return ProviderRow(f"openai/m {PLACE}", state, "unavailable", reason, "", 5, AT, again)


def test_counts_are_whole_at_80_columns_and_the_growth_is_told_where_there_is_room() -> None:
    counts = StatusCounts(pending=18_220, processing=120, completed=1_225_760, failed=16_000)
    narrow, wide = counts_line(counts, RATES, 78), counts_line(counts, RATES, 118)
    assert narrow.cell_len <= 78
    assert "16,000 failed" in narrow.plain
    assert "-3,600/min" in wide.plain


@pytest.mark.parametrize("reason", [": All connection attempts failed", " answered 429: too many requests"])
def test_why_a_provider_is_held_is_read_at_80_columns(reason: str) -> None:
    line = provider_line(provider("open", PLACE + reason), AT).plain
    assert reason.lstrip(": ") in line[:78]
    assert line.count(PLACE) == 1


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
