"""What the console keeps of one database: bounded, and of each second only what happened in it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from embedq_tui.live.feed import Lost
from embedq_tui.live.questions import Answer, Question
from embedq_tui.live.store import KEPT, Judge, Look, Rights, Store
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.errors import EmbedqError, Unreachable
from embedq_worker.insights.access import Access
from embedq_worker.insights.health import Health, Measure
from embedq_worker.insights.overview import Control, Overview, QueueFigures, StatusCounts


@dataclass(frozen=True)
class Page(Question[int]):
    """One of many."""

    number: int

    async def ask(self, connection: Connection, settings: Settings) -> int:
        return self.number


def store() -> Store:
    """One that nobody looks at."""
    return Store(lambda: None, lambda answer: None)


def look(completed: int) -> Answer[Overview]:
    """A look at so many tasks that are done."""
    counts = StatusCounts(completed=completed)
    queue = QueueFigures(counts, completed, {}, None, None, None, None)
    nobody = Control(None, None, None, None)
    seen = Overview(datetime.now(UTC), True, True, queue, (), None, nobody, ())
    return Answer(Look(), seen, at=time.monotonic())


def test_whoever_shows_the_state_is_told_of_its_changes() -> None:
    told: list[str] = []
    kept = Store(lambda: told.append("state"), lambda answer: told.append("answer"))
    kept.answered(look(1))
    kept.answered(Answer(Page(1), 1))
    kept.was_lost(None)
    assert told == ["state", "answer", "state"]


def test_of_many_pages_the_last_ones_are_kept() -> None:
    kept = store()
    for number in range(3 * KEPT):
        kept.answered(Answer(Page(0), 0))
        kept.answered(Answer(Page(number), number))
    assert len(kept.answers) == KEPT
    assert kept.answers.keys() >= {Page(0), Page(3 * KEPT - 1), Page(3 * KEPT - 10)}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_verdict_about_other_workers_than_are_seen_is_in_doubt(workers: int) -> None:
    kept = store()
    measures = Measure("pending", 5, 1_000, "tasks"), Measure("workers", workers, None, "counts")
    kept.answered(look(0))
    kept.answered(Answer(Judge(), Health(datetime.now(UTC), True, (), measures)))
    assert kept.doubts_health is (workers > 0)


def test_what_ended_while_the_database_was_away_did_not_end_in_the_second_it_came_back() -> None:
    kept = store()
    for completed in (10, 12):
        kept.answered(look(completed))
        kept.sample()
    kept.was_lost(Lost(Unreachable("gone"), 0.0, 0.0, 1))
    kept.sample()
    kept.was_lost(None)
    for completed in (5_000, 5_003):
        kept.answered(look(completed))
        kept.sample()
    assert list(kept.ended) == [0, 2, 0, 3]


def test_what_ended_while_the_console_was_suspended_did_not_end_in_the_second_it_went_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = store()
    for now, completed in ((100.0, 10), (101.0, 12), (300.0, None), (301.0, 5_000), (302.0, 5_003)):
        monkeypatch.setattr(time, "monotonic", lambda now=now: now)
        if completed is not None:
            kept.answered(look(completed)._replace(at=now))
        kept.sample()
    assert list(kept.ended) == [0, 2, 0, 3]


def test_a_screen_is_as_old_as_the_oldest_answer_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    kept = store()
    assert kept.age_s() is None
    kept.answered(look(1)._replace(at=95.0))
    kept.answered(Answer(Page(0), 0, at=40.0))
    kept.answered(Answer(Page(1), 0, at=99.0))
    assert kept.age_s() == 5.0
    assert kept.age_s([Page(1), Page(2)]) == 5.0
    assert kept.age_s([Page(0), Page(1)]) == 60.0


def test_an_old_answer_that_is_shown_is_overdue_although_the_overview_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    kept = store()
    assert kept.overdue_s([Page(0)]) is None
    kept.answered(look(1)._replace(at=95.0))
    kept.answered(Answer(Page(0), 0, at=40.0))
    kept.answered(Answer(Page(1), 0, at=95.0))
    assert kept.overdue_s([Page(1), Page(2)]) is None
    assert kept.overdue_s([Page(0), Page(1)]) == 60.0
    kept.answered(look(1)._replace(at=10.0))
    assert kept.overdue_s([]) == 90.0


@pytest.mark.parametrize(("behind_s", "skew_s"), [(60, 60), (-60, -60), (2, None), (-2, None)])
def test_a_clock_that_goes_wrong_is_told_with_its_direction(behind_s: int, skew_s: int | None) -> None:
    kept, answer = store(), look(1)
    assert answer.value is not None
    there = answer.value._replace(at=datetime.now(UTC) - timedelta(seconds=behind_s))
    kept.answered(answer._replace(value=there))
    ours = kept.skew_s()
    assert (ours and round(ours)) == skew_s


@pytest.mark.parametrize(("behind_s", "took_s", "skew_s"), [(8, 9, None), (60, 9, 51), (-60, 9, -60)])
def test_an_answer_that_takes_long_is_no_clock_that_goes_wrong(
    behind_s: int, took_s: int, skew_s: int | None
) -> None:
    kept, answer = store(), look(1)
    assert answer.value is not None
    there = answer.value._replace(at=datetime.now(UTC) - timedelta(seconds=behind_s))
    kept.answered(answer._replace(value=there, at=time.monotonic() - took_s))
    ours = kept.skew_s()
    assert (ours and round(ours)) == skew_s


def test_the_databases_time_goes_on_from_when_it_was_asked_for() -> None:
    kept, answer = store(), look(1)
    assert answer.value is not None
    kept.answered(answer._replace(at=time.monotonic() - 8))
    now = kept.now()
    assert now is not None
    assert abs(now - answer.value.at - timedelta(seconds=8)) < timedelta(seconds=1)


def test_a_question_that_failed_takes_nothing_away() -> None:
    kept = store()
    rights = Access("18.0", "ann", is_replica=True, read_only=False, missing=(), why_not="a replica")
    verdict = Health(datetime.now(UTC), healthy=False, issues=(), measures=())
    for question, value in ((Rights(), rights), (Judge(), verdict)):
        kept.answered(Answer(question, value))
        kept.answered(Answer(question, None, EmbedqError("no")))
    assert (kept.access, kept.health) == (rights, verdict)
