"""How many tasks are counted wrongly: a task that is wrong in two counts is one task."""

from __future__ import annotations

import pytest

from embedq_worker.queue.counts import Drift, miscounted

TOO_MANY, TOO_FEW = 3, -3


def drift(status: str, excess: int, group: str = "") -> Drift:
    """A count that is kept too high, or too low."""
    return Drift(status, "normal", group, 10 + excess, 10)


@pytest.mark.parametrize(
    ("found", "tasks"),
    [
        ([], 0),
        ([drift("pending", TOO_MANY)], 3),
        ([drift("pending", TOO_MANY), drift("completed", TOO_FEW)], 3),  # changed behind the counts
        ([drift("pending", TOO_MANY), drift("completed", TOO_MANY)], 6),
        ([drift("failed", TOO_FEW), drift("failed", TOO_FEW, "0a1b2c3d")], 3),  # by status and by group
        ([drift("failed", TOO_MANY, "0a1b2c3d"), drift("failed", TOO_FEW, "4e5f6a7b")], 3),
    ],
)
def test_each_is_counted_once(found: list[Drift], tasks: int) -> None:
    assert miscounted(found) == tasks
