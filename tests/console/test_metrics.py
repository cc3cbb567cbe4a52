"""The metrics screen: it measures first, one span at a time, and fits whatever space there is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from embedq_tui.screens.metrics import questions as metrics_questions
from embedq_tui.screens.metrics.screen import MetricsScreen
from embedq_worker.insights.metrics import Metrics, metrics
from tests.console.running import console, enter, go_to, shown, until_shown, until_text
from tests.support.databases import Connection, Database
from tests.support.waiting import until

SIZES = ((80, 24), (120, 40), (200, 60), (40, 12), (10, 3), (1, 1), (80, 24))
PLOTS = {80: 1, 120: 4, 200: 6}
"""By width."""


async def history(connection: Connection) -> None:
    """Three days of a queue."""
    await connection.execute(
        """INSERT INTO embedding_tasks (operation, status, completed_at)
           SELECT 'update', CASE n % 10 WHEN 0 THEN 'failed' ELSE 'completed' END, now() - n * interval '30 s'
           FROM generate_series(1, 8000) n;
           INSERT INTO performance_metrics (metric_type, value, unit, timestamp, metadata)
           SELECT kind, value, 'ms', now() - n * interval '1 min', '{"worker": "w", "n": 3, "wait_ms": 40}'
           FROM generate_series(1, 4000) n, (VALUES ('task_processing_time', 120), ('queue_depth', 7),
                                                    ('worker_utilization', 0.5)) AS v(kind, value)"""
    )


def fits(screen: MetricsScreen, width: int, height: int) -> Callable[[str], bool]:
    """Whether as many plots are shown as there is space for, and nothing beyond the edges."""

    def look(text: str) -> bool:
        lines = text.splitlines()
        inside = len(lines) <= height and all(len(line) <= width for line in lines)
        seen = sum(plot.display for plot in screen._plots)
        full = width < 80 or (seen == PLOTS[width] and text.count("└") >= seen and "All" in text)
        return inside and full

    return look


async def test_it_is_quiet_where_nothing_happened(database: Database) -> None:
    async with console(database.settings) as pilot:
        screen = await go_to(pilot, "7", MetricsScreen)
        await until(lambda: screen._measured is not None)
        await pilot.pause()
        assert screen.has_class("-quiet")
        assert not any(letter in shown(pilot) for letter in "┤└")


async def test_spans_and_sizes(database: Database, connection: Connection) -> None:
    await history(connection)
    async with console(database.settings) as pilot:
        screen = await go_to(pilot, "7", MetricsScreen)
        for title in ("1 h", "24 h", "7 d", "1 h"):
            await until(lambda: screen._measured is not None, within_s=10)
            assert screen._span.title == title
            for width, height in SIZES if title == "7 d" else SIZES[:1]:
                await pilot.resize_terminal(width, height)
                await until_shown(pilot, fits(screen, width, height))
            await pilot.press("t")
        titles = set()
        for _ in screen._plots:
            await pilot.press("right")
            titles |= {plot.id for plot in screen._plots if plot.display}
        assert len(titles) == len(screen._plots)


async def test_one_question_at_a_time_and_old_figures_are_not_shown_as_new(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await history(connection)
    under_way, most = 0, 0
    go_on = asyncio.Event()

    async def slow(*arguments: object, **named: object) -> Metrics:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            await go_on.wait()
            return await metrics(*arguments, **named)  # type: ignore[arg-type]
        finally:
            under_way -= 1

    monkeypatch.setattr(metrics_questions, "metrics", slow)
    async with console(database.settings) as pilot:
        screen = await go_to(pilot, "7", MetricsScreen)
        await until(lambda: under_way == 1)
        await until_text(pilot, "measuring...")
        await pilot.press("t", "t", "t", "t")
        await until(lambda: under_way == 1)
        go_on.set()
        await until(lambda: screen._measured is not None)
        await pilot.pause()
        assert most == 1
        assert screen._measured is not None
        assert len(screen._measured.plotted.periods) in (24, 25)
        go_on.clear()
        await pilot.press("t")
        await until_text(pilot, "measuring...")
        assert "┤" not in shown(pilot)
        await pilot.press("6", "7")  # the screen is left, and comes back
        await until_text(pilot, "measuring...")
        go_on.set()
        await until(lambda: not screen.has_class("-quiet"), within_s=10)


async def test_figures_go_into_a_file(database: Database, connection: Connection, tmp_path: Path) -> None:
    await history(connection)
    async with console(database.settings) as pilot:
        screen = await go_to(pilot, "7", MetricsScreen)
        await until(lambda: screen._measured is not None)
        await pilot.press("y", "e")
        assert "p50" in pilot.app.clipboard
        await until_text(pilot, "Export metrics to")
        file = tmp_path / "figures.json"
        await enter(pilot, str(file))
        await until_text(pilot, "rows written")
        rows = json.loads(file.read_text())
        assert sum(row["completed"] for row in rows) in range(100, 120)
        assert rows[0]["processing_ms_p95"] == 120
