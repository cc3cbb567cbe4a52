"""The figures of a period as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from embedq_tui.rendering.metric_figures import cells
from embedq_worker.insights.metrics import Period

BEGAN = datetime(2026, 11, 24, tzinfo=UTC)


def period(*, exact: bool) -> Period:
    return Period(
        since=BEGAN,
        until=BEGAN + timedelta(hours=1),
        completed=100_000,
        failed=100_000,
        exact=exact,
        per_minute=0.0,
        error_rate=None,
        processing_ms=None,
        wait_ms=None,
        embedding_ms=None,
        claim_ms=None,
        utilization=None,
        depth_mean=None,
        depth_max=None,
    )


def test_a_number_at_which_counting_was_cut_off_is_shown_as_the_least_there_are() -> None:
    assert cells(period(exact=False), ("Done", "Failed")) == ["100,000+", "100,000+"]
    assert cells(period(exact=True), ("Done", "Failed")) == ["100,000", "100,000"]
