"""`LowWater`: what it hides, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from embedq_worker.queue import low_water
from embedq_worker.queue.claims import ClaimedTask, Place
from embedq_worker.queue.low_water import FORGET_AFTER_S, FORGET_AT_MOST_S, LowWater

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def task(minutes: int, priority: str = "normal") -> ClaimedTask:
    """Due so many minutes after noon."""
    due = NOON + timedelta(minutes=minutes)
    return ClaimedTask(
        id=UUID(int=minutes),
        article_id=1,
        operation="update",
        priority=priority,
        attempts=0,
        token=1,
        claimed_at=due,
        scheduled_at=due,
        article=None,
    )


def due(minutes: int) -> Place:
    return Place(NOON + timedelta(minutes=minutes), UUID(int=minutes))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds; its one element is the time."""
    now = [1_000.0]
    monkeypatch.setattr(low_water, "monotonic", lambda: now[0])
    return now


def test_it_goes_on_from_the_last_of_each_priority() -> None:
    water = LowWater()
    assert water.marks() == []
    water.claimed([task(5, "high"), task(1), task(3)], took_s=0)
    assert water.marks() == [due(5), due(3), None]
    water.claimed([task(2)], took_s=0)  # of a claim that began before
    assert water.marks() == [due(5), due(3), None]


def test_what_is_given_back_is_not_hidden() -> None:
    water = LowWater()
    water.claimed([task(5, "high"), task(3)], took_s=0)
    water.returned([task(1), task(9, "high"), task(0, "low")])
    assert water.marks() == [due(5), due(1), None]


@pytest.mark.parametrize(
    ("took_s", "hides_s"), [(0.0, FORGET_AFTER_S), (0.5, 25.0), (100.0, FORGET_AT_MOST_S)]
)
def test_the_dearer_the_beginning_the_rarer_it_is_read(
    clock: list[float], took_s: float, hides_s: float
) -> None:
    water = LowWater()
    water.claimed([task(1)], took_s)
    clock[0] += 1
    water.claimed([task(2)], took_s=100)  # from the mark on: says nothing of what is before it
    clock[0] += hides_s - 1.1
    assert water.marks() != []
    clock[0] += 0.2
    assert water.marks() == []
