"""One task on the screen: followed by its id, with its history, error, metadata, article and other tasks."""

from __future__ import annotations

import json
import re
from typing import cast
from uuid import UUID

import pytest

from embedq_tui.console.app import Console
from embedq_tui.screens.articles.detail import ArticleDetailScreen
from embedq_tui.screens.tasks.detail import TaskDetailScreen
from embedq_tui.widgets.text_view import TextView, wrapped
from tests.console.running import ConsolePilot, console, enter, shown, until_shown, until_text
from tests.support.content import add_articles, queue_tasks
from tests.support.databases import Connection, Database
from tests.support.waiting import until

HOSTILE = "[/foo][@click=app.quit]x[red $error a[/ \x1b]52;c;aGk=\x07\x9b2J\u202e\u4e2d\u0301"
NOBODY = UUID("01a20e58-c777-73ab-9609-1ff580477dd1")


async def opened(pilot: ConsolePilot, task: UUID) -> TaskDetailScreen:
    """Show a task."""
    screen = TaskDetailScreen(task)
    await pilot.app.push_screen(screen)
    await until(lambda: pilot.app.screen is screen and screen.focused is not None)
    return screen


async def tell(
    connection: Connection,
    task: UUID,
    message: str,
    error: str | None = None,
    trace: str | None = None,
    **more: object,
) -> None:
    """Write a row of the audit log about a task."""
    await connection.execute(
        """INSERT INTO embedding_audit_logs (level, category, message, task_id, error, stack_trace, metadata)
           VALUES ($1, 'task_lifecycle', $2, $3, $4, $5, $6)""",
        "error" if error else "info",
        message,
        task,
        error,
        trace,
        json.dumps(more),
    )


async def test_a_task_is_followed_until_it_is_gone(database: Database, connection: Connection) -> None:
    articles = await add_articles(connection, ["One text."])
    task, other = (await queue_tasks(connection, articles))[0], (await queue_tasks(connection, articles))[0]
    async with console(database.settings) as pilot:
        await opened(pilot, task)
        await until_text(pilot, "pending  create, priority normal, attempts 0 of 3")
        await connection.execute(
            """UPDATE embedding_tasks SET status = 'failed', attempts = 3, completed_at = now(),
               processed_at = now() - interval '3 s', error_message = 'connect ECONNREFUSED' WHERE id = $1""",
            task,
        )
        await tell(connection, task, "Attempt failed", "no answer of x", attempt=1, worker="abcdefgh-1")
        await tell(connection, task, "Task failed", "connect ECONNREFUSED", attempt=3)
        await connection.execute("UPDATE embedding_tasks SET attempts = 3 WHERE id = $1", task)
        await until_text(pilot, "failed  create, priority normal, attempts 3 of 3")
        await until_shown(pilot, lambda screen: "Attempt failed" in screen and "    no answer of x" in screen)
        await until_shown(pilot, lambda screen: "Advice" in screen and "processed in 3,000 ms" in screen)
        await connection.execute("DELETE FROM embedding_tasks WHERE id = $1", task)
        await until_text(pilot, "no longer exists")
        assert "Attempt failed" in shown(pilot)  # what was known stays
        await pilot.press("r", "x", "p")
        assert isinstance(pilot.app.screen, TaskDetailScreen)
        await pilot.press("escape")
        await opened(pilot, NOBODY)
        await until_text(pilot, "does not exist")
    assert await connection.fetchval("SELECT status FROM embedding_tasks WHERE id = $1", other) == "pending"


async def test_what_to_do_is_shown_to_its_end_on_a_small_terminal(
    database: Database, connection: Connection
) -> None:
    [task] = await queue_tasks(connection, await add_articles(connection, ["One text."]))
    await connection.execute(
        """UPDATE embedding_tasks SET status = 'failed', attempts = 3, error_message = 'connect ECONNREFUSED',
               created_at = now() - interval '9 days', scheduled_at = now() - interval '8 days',
               processed_at = now() - interval '7 days', completed_at = now() - interval '6 days'"""
    )
    async with console(database.settings, size=(80, 24)) as pilot:
        await opened(pilot, task)
        await until_text(pilot, "retry it (r)")
        await until_shown(pilot, lambda screen: bool(re.search(r"ended\s+\d\d-\d\d", screen)))
        await until_text(pilot, "History 0")


async def test_its_keys_fit_a_small_terminal(database: Database, connection: Connection) -> None:
    [task] = await queue_tasks(connection, await add_articles(connection, ["One text."]))
    await connection.execute("UPDATE embedding_tasks SET status = 'failed', error_message = 'no answer'")
    async with console(database.settings, size=(80, 24)) as pilot:
        await opened(pilot, task)
        for _ in TaskDetailScreen.SECTIONS:
            await pilot.press("tab")
            await until_shown(pilot, lambda screen: screen.rstrip().endswith(": Commands"))


async def test_a_long_text_is_searched(database: Database, connection: Connection) -> None:
    [task] = await queue_tasks(connection, await add_articles(connection, ["One text."]))
    lines = [f"frame {number}" for number in range(300)]
    lines[120] = "the first [Needle]"
    lines[250] = f"{'x ' * 35}a second one {'y ' * 30}needle"
    await connection.execute("UPDATE embedding_tasks SET status = 'failed', error_message = 'boom'")
    await tell(connection, task, "Task failed", "boom", "\n".join(lines), note=f"{'long ' * 100}end of it")
    async with console(database.settings) as pilot:
        await opened(pilot, task)
        await until_text(pilot, "end of it")
        await pilot.press("tab")
        await until_text(pilot, "frame 1")
        await pilot.press("slash", *"needle", "enter")
        await until_text(pilot, "the first [Needle]")
        await pilot.press("n")
        await until_text(pilot, "second one")
        await pilot.press("n")  # from the end on from the beginning
        await until_text(pilot, "the first [Needle]")
        await pilot.press("N")
        await until_text(pilot, "second one")
        await pilot.press("slash")
        await until_text(pilot, "Search this text")
        await enter(pilot, "nowhere to be found")
        await until_text(pilot, "Not found: nowhere")
        assert "second one" in shown(pilot)


async def test_the_digit_of_the_screen_below_leads_back_to_it(
    database: Database, connection: Connection
) -> None:
    one, two = await queue_tasks(connection, await add_articles(connection, ["One text."] * 2))
    async with console(database.settings) as pilot:
        await pilot.press("2")
        await until_text(pilot, "article-1")
        below = pilot.app.screen
        await opened(pilot, one)
        await opened(pilot, two)
        await pilot.press("5", "2")
        await until(lambda: isinstance(pilot.app.screen, TaskDetailScreen))
        await pilot.press("2")
        await until(lambda: pilot.app.screen is below)


async def test_its_parts_and_the_way_to_its_articles_other_tasks(
    database: Database, connection: Connection
) -> None:
    articles = await add_articles(connection, ["# Heading\n\nSome text."], slug="hand")
    task, other = (await queue_tasks(connection, articles))[0], (await queue_tasks(connection, articles))[0]
    await connection.execute(
        "UPDATE embedding_tasks SET metadata = $2 WHERE id = $1", task, '{"source": {"by": "import"}}'
    )
    await connection.execute(
        """INSERT INTO embeddings
               (article_id, chunk_id, chunk_index, heading_path, text_content, content_hash)
           VALUES ($1, 'hand-0.md#0', 0, '{Heading}', 'Some text.', 'abc')""",
        articles[0],
    )
    async with console(database.settings) as pilot:
        await opened(pilot, task)
        await until_text(pilot, "chunks 1")
        await pilot.press("tab")
        await until_text(pilot, "No error")
        await pilot.press("tab")
        await until_text(pilot, '"by": "import"')
        await pilot.press("tab")
        await until_shown(pilot, lambda screen: "Title of hand-0" in screen and "Heading" in screen)
        await pilot.press("enter")
        await until(lambda: isinstance(pilot.app.screen, ArticleDetailScreen))
        await pilot.press("escape")
        await until_text(pilot, f"Task      {task}")
        await pilot.press("tab")
        await until_text(pilot, str(other))
        await pilot.press("enter")
        await until_text(pilot, f"Task      {other}")
        await pilot.press("escape")
        await until_text(pilot, f"Task      {task}")
        await pilot.press("shift+tab")
        await until_text(pilot, "Title of hand-0")


async def test_a_part_that_was_not_shown_yet_is_shown_while_the_rest_stands_still(
    database: Database, connection: Connection
) -> None:
    articles = await add_articles(connection, ["One text."])
    [task] = await queue_tasks(connection, articles)
    async with console(database.settings) as pilot:
        await opened(pilot, task)
        await until_text(pilot, "pending  create")
        await pilot.press("f", "shift+tab", "shift+tab")
        await until_text(pilot, "No chunks stored")
        assert "frozen" in shown(pilot)


async def test_it_can_be_retried_cancelled_and_its_error_copied(
    database: Database, connection: Connection
) -> None:
    task = (await queue_tasks(connection, await add_articles(connection, ["One."])))[0]
    async with console(database.settings) as pilot:
        screen = await opened(pilot, task)
        await until_text(pilot, "pending")
        assert screen.check_action("retry", ()) is None
        await pilot.press("r", "p")
        await until_text(pilot, "Priority of article-0")
        await pilot.press("k", "enter")
        await until_text(pilot, "priority high")
        await pilot.press("x")
        await until_text(pilot, "Cancel 1")
        await pilot.press("y")
        await until_text(pilot, "failed  create")
        await pilot.press("Y")
        await until_text(pilot, "Copied")
        assert "administrator" in pilot.app.clipboard
        await pilot.press("y")
        await until(lambda: pilot.app.clipboard == str(task))
        await pilot.press("r")
        await until_text(pilot, "pending  create")
        await cast(Console, pilot.app).action_undo().wait()
    assert await connection.fetchval("SELECT status FROM embedding_tasks WHERE id = $1", task) == "pending"


async def test_texts_of_any_length_and_kind_are_shown_as_they_are(
    database: Database, connection: Connection
) -> None:
    task = (await queue_tasks(connection, await add_articles(connection, [HOSTILE], slug=HOSTILE[:20])))[0]
    await connection.execute(
        """UPDATE embedding_tasks SET status = 'failed', error_message = $2, completed_at = now(),
                  metadata = jsonb_build_object('k', $3::text) WHERE id = $1""",
        task,
        f"{HOSTILE}\n" + "é中x" * 1_700_000,
        HOSTILE,
    )
    await tell(connection, task, HOSTILE, HOSTILE, "\n".join(f"at line {number}" for number in range(9_000)))
    async with console(database.settings) as pilot:
        screen = await opened(pilot, task)
        for name in ("history", "error", "metadata", "article", "related"):
            await until_shown(
                pilot, lambda screen: "[@click=app.quit]" in screen and "Other tasks 0" in screen
            )
            assert not any(mark in shown(pilot) for mark in "\x1b\x07\x9b\u202e"), name
            await pilot.press("tab")
        await pilot.press("tab", "G")
        await until_text(pilot, "at line 8999")
        view = screen.query_one("#error", TextView)
        assert view.virtual_size.height > 9_000
        await pilot.resize_terminal(30, 8)
        await pilot.press("g", "pagedown", "k")
        await pilot.press("Y")
        assert len(pilot.app.clipboard) <= 100_000


async def test_nothing_is_hidden_behind_a_scrollbar(database: Database, connection: Connection) -> None:
    [task] = await queue_tasks(connection, await add_articles(connection, ["One text."]))
    await connection.execute(
        "UPDATE embedding_tasks SET status = 'failed', error_message = $1",
        "\n".join(f"{'x' * 74} {number}." for number in range(10, 60)),  # as wide as the tab
    )
    async with console(database.settings) as pilot:
        await opened(pilot, task)
        await until_text(pilot, "History 0")
        await pilot.press("tab")
        await until_shown(pilot, lambda screen: "10." in screen and "12." in screen)


async def test_a_chunk_has_one_line_beside_a_scrollbar(database: Database, connection: Connection) -> None:
    [article] = await add_articles(connection, ["One text."])
    [task] = await queue_tasks(connection, [article])
    await connection.execute(
        """INSERT INTO embeddings
               (article_id, chunk_id, chunk_index, heading_path, text_content, content_hash)
           SELECT $1, 'x.md#' || n, n, ARRAY[repeat('long heading ', 20)], 'x', 'x'
           FROM generate_series(1, 60) AS n""",
        article,
    )
    async with console(database.settings) as pilot:
        await opened(pilot, task)
        await until_text(pilot, "History 0")
        await pilot.press("tab", "tab", "tab")
        await until_text(pilot, "chunks 60")
        await until_shown(
            pilot, lambda screen: re.search(r"long h.*…\s.*\n +\d+ +1 .*long h", screen) is not None
        )


@pytest.mark.parametrize(
    "line", ["", "  two words and more of them", "x" * 12_345, "中文字" * 2_000, "a中" * 7, "\ttab"]
)
def test_a_wrapped_line_is_whole_and_fits(line: str) -> None:
    pieces = list(wrapped(line, 10))
    assert all(len(piece) + sum(letter > "\u2e80" for letter in piece) <= 10 for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(line.split())
