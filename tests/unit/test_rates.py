"""How fast the queue moves, from looks at its counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from embedq_tui.rates import LEAST_S, WINDOW_S, RateMeter, Rates
from embedq_worker.insights.overview import Control, Overview, QueueFigures, StatusCounts

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def look(after_s: float, completed: int, pending: int = 0) -> Overview:
    """At a queue in which nothing but this ever happened."""
    counts = StatusCounts(pending=pending, completed=completed)
    figures = QueueFigures(counts, pending + completed, {}, None, None, None, None)
    control = Control(None, None, None, None)
    return Overview(BEGAN + timedelta(seconds=after_s), True, True, figures, (), None, control, ())


@pytest.mark.parametrize("every_s", [0.1, 0.7, 1.0, 5.0])
def test_a_steady_pace_is_told_however_often_it_is_looked_at(every_s: float) -> None:
    meter, rates = RateMeter(), None
    looks = round(3 * WINDOW_S / every_s)
    for place in range(looks):
        after_s = place * every_s
        rates = meter.add(look(after_s, completed=round(after_s * 100), pending=round(after_s * 10)))
    assert rates is not None
    assert rates.completed == pytest.approx(6_000, rel=0.01)
    assert rates.pending == pytest.approx(600, rel=0.01)
    assert rates.over_s == pytest.approx(WINDOW_S, abs=max(every_s, 1.0))


def test_a_clock_that_is_set_back_does_not_stop_the_pace() -> None:
    meter = RateMeter()
    for second in range(100):
        assert meter.add(look(second, completed=second)) or second < LEAST_S
    for second in range(100):
        rates = meter.add(look(second - 18_000, completed=100 + second * 10))
    assert rates == Rates(completed=600.0, failed=0.0, pending=0.0, over_s=60.0)


def test_the_newest_look_counts_at_once() -> None:
    meter = RateMeter()
    for place in range(100):
        meter.add(look(place / 10, completed=0))
    rates = meter.add(look(10.05, completed=500))
    assert rates is not None
    assert rates.completed == pytest.approx(500 / 10.05 * 60)


def test_what_retention_deleted_is_not_taken_off() -> None:
    meter = RateMeter()
    found = [meter.add(look(second, completed=done)) for second, done in ((0, 900), (5, 1_000), (10, 100))]
    assert found[-1] == Rates(completed=600.0, failed=0.0, pending=0.0, over_s=10.0)


def test_what_an_operator_cancels_is_no_failed_work() -> None:
    meter = RateMeter()
    for after_s, failed, cancelled in (
        (0, 10, 0),
        (6, 5_010, 5_000),  # pending tasks are cancelled
        (12, 5_016, 5_000),
        (18, 16, 0),  # undone
        (24, 16, 16),  # failed tasks are given up
        (30, 16, 0),  # undone
    ):
        seen = look(after_s, completed=0)
        counts = seen.queue.counts._replace(failed=failed)
        rates = meter.add(seen._replace(queue=seen.queue._replace(counts=counts, cancelled=cancelled)))
    assert rates == Rates(completed=0.0, failed=12.0, pending=0.0, over_s=30.0)
    assert rates.drain_s(12) == 60


def test_looks_close_to_each_other_tell_nothing() -> None:
    meter = RateMeter()
    assert meter.add(look(0, completed=0)) is None
    assert meter.add(look(LEAST_S - 0.1, completed=100)) is None
    assert meter.add(look(LEAST_S, completed=100)) is not None
