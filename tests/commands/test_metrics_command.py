"""`embedq-tui metrics` and `stats`: tables, plots and the exposition."""

from __future__ import annotations

import asyncio
import re
import sys
from datetime import datetime, timedelta

import pytest
from rich.cells import cell_len

from embedq_tui.rendering.plots import Series, plot
from embedq_worker.errors import ExitCode
from tests.commands.actors import start_worker
from tests.commands.running import Tui
from tests.support.content import queued_articles
from tests.support.databases import Connection
from tests.support.scraping import parse

ESCAPE = re.compile("\x1b")


async def some_hours(connection: Connection) -> None:
    """Five hours of work."""
    await connection.execute(
        """INSERT INTO embedding_tasks (operation, status, completed_at, error_message)
           SELECT 'update', CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'completed' END,
                  now() - n * interval '3 minutes', CASE WHEN n % 10 = 0 THEN E'broke [/red] \\x1b[2J' END
           FROM generate_series(1, 100) n"""
    )
    await connection.execute(
        """INSERT INTO performance_metrics (metric_type, value, unit, timestamp, metadata)
           SELECT m.kind, n % 7 + 1, 'ms', now() - n * interval '3 minutes', '{"worker": "w", "n": 3}'
           FROM generate_series(1, 100) n,
                (VALUES ('task_processing_time'), ('queue_depth')) AS m(kind)"""
    )


async def test_the_document(tui: Tui, connection: Connection) -> None:
    await some_hours(connection)
    document = (await tui("metrics", "--since", "8h", "--json")).document("metrics")
    assert document["by"] == "hour"
    assert document["total"]["completed"] == 90
    assert document["total"]["processing_ms"]["p50"] > 0
    by_day = (await tui("metrics", "--by", "day", "--since", "7d", "--json")).document("metrics")
    assert by_day["total"]["completed"] == 90
    assert 8 <= len(by_day["periods"]) <= 9


async def test_the_table_ends_with_the_whole(tui: Tui, connection: Connection) -> None:
    await some_hours(connection)
    answer = await tui("metrics", "--since", "6h")
    assert answer.code == ExitCode.OK
    assert answer.out.splitlines()[-1].startswith("All ")
    assert not ESCAPE.search(answer.out)


async def test_plots(tui: Tui, connection: Connection) -> None:
    await some_hours(connection)
    answer = await tui("metrics", "--since", "6h", "--plot")
    assert (answer.code, answer.err) == (ExitCode.OK, "")
    assert len(answer.out.splitlines()) > 30
    assert not ESCAPE.search(answer.out)
    assert max(map(len, answer.out.splitlines())) <= 120


async def test_a_plot_that_there_is_no_room_for(
    tui: Tui, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await some_hours(connection)
    monkeypatch.setattr("embedq_tui.commands.output.PIPE_WIDTH", 20)
    answer = await tui("metrics", "--plot")
    assert (answer.code, answer.out, len(answer.complaint)) == (ExitCode.NO, "", 2)


@pytest.mark.parametrize("variables", [{"TERM": "linux"}, {"LC_ALL": "C"}])
async def test_a_plot_for_a_terminal_of_ascii(
    tui: Tui, connection: Connection, variables: dict[str, str]
) -> None:
    await some_hours(connection)
    assert not (await tui("metrics", "--plot", LC_ALL="C.UTF-8", TERM="xterm")).out.isascii()
    assert (
        await tui("metrics", "--plot", **{"LC_ALL": "C.UTF-8", "TERM": "xterm"} | variables)
    ).out.isascii()


@pytest.mark.parametrize("arguments", [["metrics"], ["metrics", "--plot"]])
async def test_quiet_without_data(tui: Tui, arguments: list[str]) -> None:
    answer = await tui(*arguments)
    assert (answer.code, answer.err, len(answer.out.splitlines())) == (ExitCode.OK, "", 1)


@pytest.mark.parametrize("since", ["0h", "-1h", "soon", "2026-01-01", "99999w"])
async def test_a_time_that_is_none(anywhere: Tui, since: str) -> None:
    answer = await anywhere("metrics", "--since", since)
    assert answer.code == ExitCode.USAGE
    assert "--since" in answer.err


async def test_the_exposition(tui: Tui, connection: Connection) -> None:
    await start_worker(connection)
    await queued_articles(connection, 3, priority="low")
    answer = await tui("metrics", "--prometheus")
    assert (answer.code, answer.err) == (ExitCode.OK, "")
    found = parse(answer.out)
    assert found.value("embedq_database_up") == 1
    assert found.value("embedq_tasks", status="pending", priority="low") == 3
    assert found.value("embedq_oldest_due_age_seconds") > 50
    assert found.value("embedq_health_issue", code="backlog") == 0


async def test_the_exposition_of_a_database_that_is_not_reached(anywhere: Tui) -> None:
    answer = await anywhere("metrics", "--prometheus")
    assert answer.code == ExitCode.UNREACHABLE
    assert parse(answer.out).samples == {("embedq_database_up", frozenset()): 0}
    assert 1 <= len(answer.complaint) <= 2


async def test_the_exposition_without_a_queue(bare_tui: Tui) -> None:
    answer = await bare_tui("metrics", "--prometheus")
    assert answer.code == ExitCode.OK
    found = parse(answer.out)
    assert (found.value("embedq_database_up"), found.value("embedq_schema_current")) == (1, 0)


async def test_plotext_loads_for_plots_alone() -> None:
    code = (
        "import sys, embedq_tui.commands.metrics, embedq_tui.commands.stats, embedq_tui.commands.health\n"
        "print([name for name in ('plotext', 'textual', 'prometheus_client') if name in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert out.decode().strip() == "[]"


async def test_stats(tui: Tui, connection: Connection) -> None:
    await some_hours(connection)
    await queued_articles(connection, 2, priority="high")
    document = (await tui("stats", "--json")).document("stats")
    assert document["queue"]["total"] == 102
    assert document["week"]["completed"] == 90
    assert [group["count"] for group in document["failing"]] == [10]
    answer = await tui("stats")
    assert (answer.code, answer.err) == (ExitCode.OK, "")
    assert len(answer.out.splitlines()) <= 24 + 3
    assert "[/red]" in answer.out
    assert not ESCAPE.search(answer.out)


async def test_stats_of_an_empty_queue(tui: Tui) -> None:
    document = (await tui("stats", "--json")).document("stats")
    assert document["success_rate"] is None
    assert (await tui("stats")).code == ExitCode.OK


# -- plots


def labels(count: int) -> list[str]:
    """Hours."""
    first = datetime(2026, 1, 1)
    return [f"{first + timedelta(hours=place):%m-%d %H:%M}" for place in range(count)]


@pytest.mark.parametrize("size", [(24, 6), (40, 10), (80, 12), (200, 40)])
@pytest.mark.parametrize("count", [1, 2, 24, 168])
def test_a_plot_has_its_size(size: tuple[int, int], count: int) -> None:
    values = [float(place % 5) for place in range(count)]
    picture = plot([Series("a", values)], labels(count), title="T", width=size[0], height=size[1])
    assert picture is not None
    lines = picture.plain.splitlines()
    assert len(lines) == size[1]
    assert max(cell_len(line) for line in lines) <= size[0]


def test_two_lines_differ_without_colours() -> None:
    lines = [Series("low", [1.0, 1.0, 1.0]), Series("high", [2.0, 2.0, 2.0])]
    picture = plot(lines, labels(3), title="T", width=60, height=12)
    assert picture is not None
    assert "low" in picture.plain
    assert "high" in picture.plain
    assert "•" in picture.plain


def test_ascii_alone() -> None:
    picture = plot(
        [Series("a", [1.0, None, 3.0])], labels(3), title="T", width=60, height=12, ascii_only=True
    )
    assert picture is not None
    assert picture.plain.isascii()


@pytest.mark.parametrize("values", [[], [None, None]])
def test_without_data_there_is_no_plot(values: list[float | None]) -> None:
    assert plot([Series("a", values)], labels(len(values)), title="T", width=60, height=12) is None
