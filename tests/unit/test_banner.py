"""What stands above every screen where something is wrong."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from embedq_tui.live.feed import Lost
from embedq_tui.live.session import Session
from embedq_tui.live.store import Store
from embedq_tui.profiles import Profile
from embedq_tui.rendering.keys import key
from embedq_tui.screens.frame import alert, title
from embedq_worker.errors import MIGRATE, SchemaError, Unreachable
from embedq_worker.insights.health import Health
from embedq_worker.insights.issues import Code, Issue
from embedq_worker.insights.overview import Control, Overview, QueueFigures, StatusCounts

AT = datetime(2026, 1, 1, tzinfo=UTC)


def seen(control: Control) -> Overview:
    """An empty queue, and what was said to its workers."""
    figures = QueueFigures(StatusCounts(), 0, {}, None, None, None, None)
    return Overview(AT, True, True, figures, (), None, control, ())


def store(control: Control, *judged: Issue, age_s: float = 0.0) -> Store:
    """What is known after a look so long ago, and a verdict before it."""
    known = Store(lambda: None, lambda answer: None)
    known.overview, known.overview_at = seen(control), time.monotonic() - age_s
    known.health = Health(AT, not judged, judged, ())
    return known


PAUSED = Control(None, None, AT - timedelta(seconds=2), "anna@here")
NOBODY = Control(None, None, None, None)


def test_a_pause_is_told_with_its_age_of_now_whatever_the_verdict_says() -> None:
    told = alert(store(PAUSED), 100).plain
    assert " 2 s ago" in told
    assert "anna@here" in told
    judged = Issue(Code.PAUSED, "paused 2 s ago", "", 2.0, 0, "s")
    assert "42 s ago" in alert(store(PAUSED, judged, age_s=40.2), 100).plain


def test_a_pause_that_is_over_is_told_no_more_though_the_verdict_is_older() -> None:
    judged = Issue(Code.PAUSED, "paused 2 s ago", "", 2.0, 0, "s")
    assert alert(store(NOBODY, judged), 100).plain == ""


def above(known: Store) -> str:
    """The title line."""
    session = SimpleNamespace(
        profile=Profile(), store=known, read_only=False, link=SimpleNamespace(place="here")
    )
    return title(cast(Session, session), 100, frozen_s=None).plain


def test_what_was_seen_a_while_ago_is_not_called_live() -> None:
    assert " old" not in above(store(NOBODY, age_s=5.0))
    assert "13 s old" in above(store(NOBODY, age_s=13.0))


@pytest.mark.parametrize(("left_s", "counted"), [(7.3, "7 s"), (0.2, "1 s"), (-6.0, "0 s")])
def test_an_attempt_to_reconnect_is_counted_down_to_and_not_beyond(left_s: float, counted: str) -> None:
    known = store(NOBODY)
    known.lost = Lost(Unreachable("gone"), 0.0, time.monotonic() + left_s, 1)
    line = above(known)
    assert (f" {counted} " in f"{line} ".split("old")[1]) is (left_s > 0)


def test_what_to_do_is_in_the_line_itself_if_there_is_room() -> None:
    resume, more = f"({key('show.workers')}), {key('workers.pause')}", key("app.troubles")
    assert resume in alert(store(PAUSED), 80).plain
    assert resume not in alert(store(PAUSED), 50).plain
    assert more in alert(store(PAUSED), 50).plain
    stuck = Issue(Code.STUCK, "too many", "see", 2.0, 1, "tasks")
    told = alert(store(PAUSED, stuck), 100).plain
    assert resume in told
    assert f"+1 more: {more}" in told
    assert all(len(alert(store(PAUSED, stuck), width).plain) <= width for width in range(60, 120))


@pytest.mark.parametrize(("advice", "offered"), [(MIGRATE, True), ("reinstall embedq", False)])
def test_the_key_that_migrates_is_offered_where_that_mends_the_schema(advice: str, offered: bool) -> None:
    migrate = f"{key('app.migrate')}: migrate"
    judged = store(NOBODY, Issue(Code.SCHEMA, "not as it should be", advice, 1, 0, "counts"))
    assert (migrate in alert(judged, 100).plain) is offered
    judged.error = SchemaError("not as it should be", advice)
    assert (migrate in alert(judged, 100).plain) is offered
