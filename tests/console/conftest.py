"""Tests of the console wait for it in short slices."""

from __future__ import annotations

import pytest
from textual import _wait

SLICE_S = 0.004


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a key the pilot waits, twice, for a slice of 20 ms in which the process hardly used the CPU.

    Those slices were half of what these tests took. What a key leads to by way of the database is not done
    when the process is idle, however long the slice: tests wait for it by its condition.
    """
    monkeypatch.setattr(_wait, "SLEEP_GRANULARITY", SLICE_S)
    monkeypatch.setattr(_wait, "SLEEP_IDLE", SLICE_S / 20)
