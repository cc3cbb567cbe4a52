"""What is done now and then: importing, queueing articles by name, cleaning up, the trigger, proving."""

from __future__ import annotations

from pathlib import Path

from embedq_tui.console.app import Console
from embedq_tui.dialogs.dialog import Dialog
from embedq_tui.screens.articles.detail import ArticleDetailScreen
from embedq_tui.widgets.keyed_table import KeyedTable
from tests.commands.actors import start_worker
from tests.console.running import (
    OPERATOR,
    ConsolePilot,
    console,
    enter,
    shown,
    until_asked,
    until_shown,
    until_text,
)
from tests.support.content import add_articles, queue_tasks, until_tasks, until_true
from tests.support.databases import Connection, Database
from tests.support.waiting import until


async def no_dialog(pilot: ConsolePilot) -> None:
    await until(lambda: not isinstance(pilot.app.screen, Dialog))


async def audited(connection: Connection, what: str) -> None:
    """There is a row of the audit log that says who did it."""
    await until_true(
        connection,
        f"""SELECT count(*) > 0 FROM embedding_audit_logs
            WHERE message = '{what}' AND metadata ->> 'operator' || coalesce('@' || (metadata ->> 'host'), '')
                  LIKE 'me%'""",
    )


async def test_files_are_compared_asked_for_stored_and_told(
    database: Database, connection: Connection, tmp_path: Path
) -> None:
    for number in range(3):
        (tmp_path / f"page-{number}.md").write_text(f"# Page {number}\n\nText.")
    (tmp_path / "bad.md").write_bytes(b"\xff\xfe\xff")
    async with console(database.settings, (120, 40)) as pilot:
        await pilot.press("8", "i")
        await until_text(pilot, "Import which file or folder?")
        await enter(pilot, f"{tmp_path}/nowhere")
        await until_text(pilot, "no such file")
        await enter(pilot, str(tmp_path))
        await until_text(pilot, "Into which article folder")
        await enter(pilot, "guides")
        await until_text(pilot, "Priority for embedding 3 articles")
        assert await connection.fetchval("SELECT count(*) FROM articles") == 0
        await pilot.press("down", "enter")
        await until_asked(pilot)
        await until_text(pilot, "Import 3 articles")
        await until_text(pilot, "bad.md")
        await pilot.press("y")
        await until_text(pilot, "3 articles imported")  # with the one that was skipped
        await until_tasks(connection, pending=3)
        assert await connection.fetchval("SELECT DISTINCT folder FROM articles") == "guides"
        assert await connection.fetchval("SELECT DISTINCT priority FROM embedding_tasks") == "low"
        await audited(connection, "Articles imported")
        await pilot.press("escape", "i")  # once more: nothing is to be done
        await until_text(pilot, "Import which file")
        await enter(pilot, str(tmp_path))
        await until_text(pilot, "Into which article folder")
        await enter(pilot, "guides")
        await until_text(pilot, "Nothing to import")


async def test_articles_that_are_marked_are_queued_and_one_that_is_shown(
    database: Database, connection: Connection
) -> None:
    articles = await add_articles(connection, ["Text."] * 4)
    await queue_tasks(connection, articles[3:], priority="high")
    await connection.execute("UPDATE articles SET no_rag = true WHERE id = $1", articles[0])
    async with console(database.settings, (120, 40)) as pilot:
        await pilot.press("8")
        table = pilot.app.screen.query_one(KeyedTable)
        await until(lambda: len(table.keys) == 4)
        await pilot.press("a", "r")
        await until_text(pilot, "Queue 4 marked articles")
        await pilot.press("escape")
        await no_dialog(pilot)
        assert await connection.fetchval("SELECT count(*) FROM embedding_tasks") == 1
        await pilot.press("r", "enter")
        await until_text(pilot, "2 articles queued; 1 already queued")
        await until_tasks(connection, pending=3)
        await audited(connection, "Operator: articles queued")
        await until(lambda: not table.marked)
        await until(lambda: table.current == str(articles[3]))
        await pilot.press("down", "enter")
        await until(lambda: isinstance(pilot.app.screen, ArticleDetailScreen))
        await until_text(pilot, "Tasks 1")
        await pilot.press("r")
        await until_text(pilot, "Queue article-2")
        await pilot.press("up", "enter")  # before everything else: the one that waits is not as early
        await until_text(pilot, "Tasks 2")


async def test_what_is_old_is_counted_and_deleted_by_a_typed_word(
    database: Database, connection: Connection
) -> None:
    articles = await add_articles(connection, ["Text."] * 3)
    await queue_tasks(connection, articles)
    await connection.execute(
        """UPDATE embedding_tasks SET status = 'completed', completed_at = now() - interval '40 days'
           WHERE article_id < $1""",
        articles[2],
    )
    async with console(database.settings) as pilot:
        await pilot.press("9", "X")
        await until_text(pilot, "older than how many days")
        await enter(pilot, "none")
        await until_text(pilot, "a number of days")
        await enter(pilot, "39")
        await until_text(pilot, "Delete 2 rows older than 39 days")
        await pilot.press("y", "enter")  # neither is the word
        await pilot.press("ctrl+u", "2", "enter")
        await until_text(pilot, "Deleted: 2 completed tasks")
        await until_tasks(connection, pending=1)
        await audited(connection, "Operator: cleanup")


async def test_what_another_table_keeps_is_told_with_what_was_deleted(
    database: Database, connection: Connection
) -> None:
    await queue_tasks(connection, await add_articles(connection, ["Text."] * 3))
    await connection.execute(
        """UPDATE embedding_tasks SET status = 'completed', completed_at = now() - interval '40 days';
           CREATE TABLE notes (task uuid REFERENCES embedding_tasks (id));
           INSERT INTO notes SELECT id FROM embedding_tasks LIMIT 1"""
    )
    async with console(database.settings) as pilot:
        await pilot.press("9", "X")
        await until_text(pilot, "older than how many days")
        await enter(pilot, "39")
        await until_text(pilot, "Delete 3 rows")
        await pilot.press("3", "enter")
        await until_shown(pilot, lambda screen: "Deleted: 2 completed tasks" in screen and "notes" in screen)
        assert "Run it again" not in shown(pilot)
        await until_tasks(connection, completed=1)


async def test_the_trigger_is_installed_and_removed(database: Database, connection: Connection) -> None:
    async with console(database.settings) as pilot:
        await pilot.press("9", "t")
        await until_text(pilot, "Install the trigger")
        await pilot.press("y")
        await until_text(pilot, "The trigger is installed")
        await add_articles(connection, ["Text."])
        await until_tasks(connection, pending=1)
        await audited(connection, "Operator: triggers installed")
        await pilot.press("t")
        await until_text(pilot, "Remove the trigger")
        await pilot.press("y")
        await audited(connection, "Operator: triggers removed")


async def test_what_is_wrong_is_found_and_repaired(database: Database, connection: Connection) -> None:
    await add_articles(connection, ["Text."] * 2)
    await connection.execute("INSERT INTO embedq_count_deltas VALUES ('pending', 'normal', 5)")
    async with console(database.settings) as pilot:
        await pilot.press("9", "v")
        await until_text(pilot, "Problems found")
        await until_text(pilot, "kept 5, counted 0")
        await pilot.press("escape")
        await until_text(pilot, "What do you want to repair?")
        await pilot.press("enter")
        await until_text(pilot, "Correct 1 stored count?")
        await pilot.press("y")
        await until_true(connection, "SELECT coalesce(sum(n), 0) = 0 FROM embedq_live_counts")
        await audited(connection, "Operator: counts repaired")
        await no_dialog(pilot)
        await pilot.press("v")
        await until_text(pilot, "text but no embeddings")
        await pilot.press("escape")
        await until_text(pilot, "Queue what needs embedding")
        await pilot.press("enter")
        await until_text(pilot, "Priority of 2 tasks")
        await pilot.press("enter")
        await until_asked(pilot)
        await pilot.press("y")
        await until_tasks(connection, pending=2)


async def test_where_nothing_may_be_changed_upkeep_is_refused_and_proving_is_not(
    database: Database, connection: Connection
) -> None:
    await add_articles(connection, ["Text."])
    await start_worker(connection)
    of_workers = [("5", key) for key in ("p", "S", "x", "plus", "s")]
    async with console(database.settings, (120, 40), read_only=True) as pilot:
        for screen, key in (("8", "i"), ("8", "r"), ("9", "X"), ("9", "t"), *of_workers):
            await pilot.press(screen)
            await until(lambda: bool(pilot.app.screen.query_one(KeyedTable).keys))
            await pilot.press(key)
            await until_text(pilot, "Read-only")
            assert not isinstance(pilot.app.screen, Dialog)
            pilot.app.clear_notifications()
            await until_shown(pilot, lambda screen: "Read-only" not in screen)
        await pilot.press("9", "v")
        await until_text(pilot, "Problems found")
        await pilot.press("escape")
        await no_dialog(pilot)


async def test_what_has_a_key_elsewhere_is_found_in_the_palette(
    database: Database, connection: Connection
) -> None:
    [article] = await add_articles(connection, ["Text."])
    async with console(database.settings) as pilot:
        assert isinstance(pilot.app, Console)
        await pilot.press("8")
        await until(lambda: pilot.app.screen.query_one(KeyedTable).keys == (str(article),))
        await pilot.press("enter")
        await until(lambda: isinstance(pilot.app.screen, ArticleDetailScreen))
        for words, asked in (("clean up", "how many days"), ("import mark", "Import which file")):
            await pilot.press("colon", *words)
            await until_text(pilot, words[:6].capitalize())
            await pilot.press("enter")
            await until_text(pilot, asked)
            await pilot.press("escape")
            await no_dialog(pilot)
        assert pilot.app.current_mode == "articles"
        assert pilot.app.options.operator == OPERATOR
