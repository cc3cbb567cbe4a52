"""When a worker tells that the database refuses its statements, and when it does so no more."""

from __future__ import annotations

import pytest

from embedq_worker.configuration.loading import load_settings
from embedq_worker.database.blockers import Blocked, Blocker
from embedq_worker.database.line_watch import LineWatch
from embedq_worker.service.refusals import LASTING_S, Refusals


def test_what_is_refused_again_and_again_lasts_since_the_first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, changes = 100.0, []
    monkeypatch.setattr("embedq_worker.service.refusals.monotonic", lambda: now)
    refusals = Refusals(LineWatch(load_settings()), lambda: changes.append(refusals.lasting))
    for _ in range(3):
        refusals.refused("a batch", OSError("no"))
        now += LASTING_S / 2
    assert changes == []
    refusals.refused("a batch", OSError("no"))
    assert changes == ["no"]


def test_a_lock_whose_holder_is_known_has_lasted_long_enough() -> None:
    changes: list[str] = []
    refusals = Refusals(LineWatch(load_settings()), lambda: changes.append(refusals.lasting))
    refusals.refused("a batch", Blocked(Blocker(7, "session 7")))
    assert "session 7" in changes[0]


def test_the_end_is_told_of_all_that_a_heartbeat_may_have_told(monkeypatch: pytest.MonkeyPatch) -> None:
    now, changes = 100.0, []
    monkeypatch.setattr("embedq_worker.service.refusals.monotonic", lambda: now)
    refusals = Refusals(LineWatch(load_settings()), lambda: changes.append(refusals.present))
    refusals.refused("a batch", OSError("no"))
    refusals.ended("a batch")
    assert changes == []
    refusals.refused("a batch", OSError("no"))
    now += LASTING_S + 1  # longer than between two tries
    assert refusals.present == "no"
    refusals.ended("a batch")
    assert changes[-1] == ""
