"""Times as typed into filters and options."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from embedq_tui.filters.values import parse_moment, parse_past
from embedq_worker.queue.wanted import CLOCKS_APART


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", timedelta(seconds=90)),
        ("5 min", timedelta(minutes=5)),
        ("5m", timedelta(minutes=5)),
        (" 2h", timedelta(hours=2)),
        ("3D", timedelta(days=3)),
        ("1w", timedelta(days=7)),
        ("2026-11-24T15:00:00Z", datetime(2026, 11, 24, 15, tzinfo=UTC)),
        ("2026-11-24T15:00:00+02:00", datetime(2026, 11, 24, 13, tzinfo=UTC)),
        ("2026-11-24", datetime(2026, 11, 24).astimezone()),
    ],
)
def test_moments(text: str, moment: datetime | timedelta) -> None:
    assert parse_moment(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "h",
        "-2h",
        "2 fortnights",
        "999999999999999d",
        "99999999d",
        "9" * 5_000 + "s",
        "0001-01-01T00:00:00+12:00",
        "9999-12-31T23:59:59-12:00",
    ],
)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_moment(text)


@pytest.mark.parametrize(("apart", "fits"), [(-1, True), (0.5, True), (2, False)])
def test_what_is_past_allows_for_clocks_that_differ(apart: float, fits: bool) -> None:
    when = datetime.now(UTC) + apart * CLOCKS_APART
    if fits:
        assert parse_past(when.isoformat()) == when
    else:
        with pytest.raises(ValueError, match=r"."):
            parse_past(when.isoformat())
