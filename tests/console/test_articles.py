"""The screen of articles: what is wrong with which, backfills, search by meaning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embedq_tui.console.app import Console
from embedq_tui.dialogs.dialog import Dialog
from embedq_tui.screens.articles.detail import ArticleDetailScreen
from embedq_tui.screens.articles.search import ArticleSearchScreen
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_worker.configuration.settings import Settings
from embedq_worker.providers.naming import stored_model
from tests.console.running import (
    OPERATOR,
    ConsolePilot,
    console,
    enter,
    shown,
    until_asked,
    until_shown,
    until_text,
    with_stub,
)
from tests.support.content import add_articles, until_tasks, until_true
from tests.support.databases import DIMENSIONS, Connection, Database
from tests.support.provider_stub import ProviderStub, stub_vector
from tests.support.vector_storage import vector_column
from tests.support.waiting import until

HOSTILE = "[/b][@click=\x1b]52;c;\u202e宽字"


async def embed(connection: Connection, settings: Settings, article: int, text: str) -> None:
    """What a worker that did this article would have left, as far as search looks at it."""
    vector = json.dumps(list(stub_vector(text, DIMENSIONS)))
    column = await vector_column(connection)
    kind = "jsonb" if column == "vector_data" else "vector"
    await connection.execute(
        f"""INSERT INTO embeddings (article_id, chunk_id, chunk_index, heading_path, text_content,
                                    content_hash, model, {column})
            VALUES ($1, 'x.md#0', 0, '{{Head}}', $2, 'hash', $3, $4::text::{kind})""",
        article,
        text,
        stored_model(settings),
        vector,
    )


def table(pilot: ConsolePilot, name: str = "#list") -> KeyedTable:
    return pilot.app.screen.query_one(name, KeyedTable)


async def test_articles_are_counted_by_state_and_filtered(database: Database, connection: Connection) -> None:
    await add_articles(connection, ["Text."] * 3, slug="plain", folder="guides")
    await add_articles(connection, ["Text."], slug="hidden", no_rag=True)
    await connection.execute(
        "INSERT INTO articles (title, slug, content, folder) VALUES ($1, $1, 'text', $1)", HOSTILE
    )
    async with console(database.settings, (120, 40)) as pilot:
        await pilot.press("8")
        await until_text(pilot, "missing 4")
        await until_text(pilot, "excluded 1")
        await until_text(pilot, "[/b][@click=")  # the list is another question
        screen = shown(pilot)
        assert "\x1b" not in screen
        assert "\u202e" not in screen
        await pilot.press("slash", *"folder", "colon", *"gui", "enter")
        await until_text(pilot, "no matches")
        await pilot.press("slash", *"des", "enter")
        await until(lambda: len(table(pilot).keys) == 0)
        await pilot.press("escape", "slash", *"plain-1", "enter")
        await until(lambda: len(table(pilot).keys) == 1)
        await pilot.press("slash", *"state", "colon", *"nonsense", "enter")
        await until_text(pilot, "state: must be one of")
        await pilot.press("escape", "escape", "tab", "tab")
        await until(lambda: len(table(pilot).keys) == 1)
        assert "hidden-0" in shown(pilot)


async def test_an_article_is_followed_by_its_id_until_it_is_gone(
    database: Database, connection: Connection
) -> None:
    settings = database.settings
    [first, second] = await add_articles(connection, ["One text.", "Another."], slug="plain")
    await embed(connection, settings, first, "One text.")
    async with console(settings) as pilot:
        await pilot.press("8")
        await until_text(pilot, "plain-0")
        await pilot.press("down", "enter")
        await until(lambda: isinstance(pilot.app.screen, ArticleDetailScreen))
        await until_text(pilot, "Chunks 1")
        await until_text(pilot, "Head")
        await pilot.press("enter")
        await until_text(pilot, "One text.")
        await pilot.press("escape")
        await connection.execute(
            "INSERT INTO embedding_tasks (article_id, operation, slug) VALUES ($1, 'update', 'plain-0')",
            first,
        )
        await until_text(pilot, "Tasks 1")
        await connection.execute("DELETE FROM articles WHERE id = $1", first)
        await until_text(pilot, "no longer exists")
        await pilot.press("escape")
        await until(lambda: not isinstance(pilot.app.screen, ArticleDetailScreen))
        await until(lambda: table(pilot).keys == (str(second),))


async def test_lists_of_any_length_are_turned_by_the_page_and_exported_whole(
    database: Database, connection: Connection, tmp_path: Path
) -> None:
    articles = await add_articles(connection, ["Text."] * 230)
    async with console(database.settings) as pilot:
        await pilot.press("8")
        await until(lambda: len(table(pilot).keys) == 100)
        assert table(pilot).keys[0] == str(articles[-1])
        await pilot.press("right_square_bracket")
        await until(lambda: table(pilot).keys[0] == str(articles[-101]))
        await pilot.press("right_square_bracket")
        await until(lambda: len(table(pilot).keys) == 30)
        await pilot.press("right_square_bracket")  # there is no further page
        await pilot.press("up")
        await until(lambda: table(pilot).keys[0] == str(articles[-101]))
        assert table(pilot).current == str(articles[-200])
        await pilot.press("left_curly_bracket", "o")
        await until(lambda: table(pilot).keys[0] == str(articles[0]))
        await pilot.press("e")
        await until_text(pilot, "Export articles")
        await enter(pilot, str(tmp_path / "articles.json"))
        await until_text(pilot, "230 rows written")
    written = json.loads((tmp_path / "articles.json").read_text(encoding="utf-8"))
    assert [row["id"] for row in written] == articles


async def begin_backfill(pilot: ConsolePilot) -> None:
    """As far as the last question, with the first priority."""
    await pilot.press("b")
    await until_text(pilot, "Priority of")
    await pilot.press("enter")
    await until_asked(pilot)


async def test_a_backfill_is_counted_asked_carried_out_and_taken_back(
    database: Database, connection: Connection
) -> None:
    await add_articles(connection, ["Text."] * 5)
    async with console(database.settings) as pilot:
        await pilot.press("8")
        await until_text(pilot, "missing 5")
        await begin_backfill(pilot)
        await until_text(pilot, "Queue 5 tasks with priority low")
        await pilot.press("enter")  # it starts on No
        await until(lambda: not isinstance(pilot.app.screen, Dialog))
        assert await connection.fetchval("SELECT count(*) FROM embedding_tasks") == 0
        await begin_backfill(pilot)
        await pilot.press("y")
        await until_tasks(connection, pending=5)
        assert await connection.fetchval("SELECT DISTINCT priority FROM embedding_tasks") == "low"
        by = "SELECT operator || '@' || host FROM embedq_bulk_operations"
        assert await connection.fetchval(by) == OPERATOR
        await until_text(pilot, "queued 5")
        await pilot.press("b")  # there is nothing more to do
        await until_text(pilot, "Nothing to queue")
        await pilot.press("escape", "B")
        await until_text(pilot, "Remove 5 pending tasks")
        await pilot.press("y")
        await until_tasks(connection)


async def test_a_backfill_is_of_the_articles_that_the_list_shows(
    database: Database, connection: Connection
) -> None:
    await add_articles(connection, ["Text."] * 4)
    stale, missing = await add_articles(connection, ["One.", "Two."], slug="guide", folder="guides")
    async with ProviderStub(dimensions=DIMENSIONS) as stub:
        settings = with_stub(database, stub)
        await embed(connection, settings, stale, "One.")
        await connection.execute("UPDATE articles SET updated_at = now() + interval '1 s'")
        async with console(settings) as pilot:
            await pilot.press("8", "slash", *"folder", "colon", *"guides", "space", *"state", "colon")
            await pilot.press(*"stale", "enter")
            await until(lambda: table(pilot).keys == (str(stale),))
            await begin_backfill(pilot)
            await until_text(pilot, "Queue 1 task with priority low")
            await pilot.press("y")
            await until_tasks(connection, pending=1)
            assert await connection.fetchval("SELECT article_id FROM embedding_tasks") == stale
            await pilot.press("B")
            await until_text(pilot, "Remove 1 pending task")
            await pilot.press("y")
            await until_tasks(connection)
            await pilot.press("slash")
            await enter(pilot, "folder:guides")
            await until(lambda: table(pilot).keys == (str(missing), str(stale)))
            await pilot.press("b")
            await until_text(pilot, "All 2")


async def test_a_backfill_that_is_stopped_is_gone_on_with(database: Database, connection: Connection) -> None:
    await add_articles(connection, ["Text."] * 1_500)
    holder = await database.connect()
    async with console(database.settings) as pilot:
        await pilot.press("8")
        await until_text(pilot, "missing 1,500")
        await begin_backfill(pilot)
        held = holder.transaction()
        await held.start()
        await holder.execute("LOCK TABLE embedding_tasks IN EXCLUSIVE MODE")  # nobody writes
        await pilot.press("y")
        await until_text(pilot, "Queueing 1,500 tasks")
        await pilot.press("escape")
        await until_text(pilot, "Stopping once")  # the batch in hand is finished, and counted
        await held.rollback()
        await until_text(pilot, "Stopped: 1,000 of 1,500 tasks")
        await until_true(connection, "SELECT state = 'stopped' FROM embedq_bulk_operations")
        await pilot.press("escape")
        await begin_backfill(pilot)
        await pilot.press("y")
        await until_tasks(connection, pending=1_500)
        assert await connection.fetchval("SELECT count(*) FROM embedq_bulk_operations") == 1


async def test_a_backfill_that_the_database_breaks_off_tells_what_it_had_done(
    database: Database, connection: Connection
) -> None:
    await add_articles(connection, ["Text."] * 1_500)
    await connection.execute(
        """CREATE FUNCTION doom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               IF (SELECT count(*) FROM embedding_tasks) > 1000 THEN
                   PERFORM pg_terminate_backend(pg_backend_pid());
               END IF;
               RETURN NULL;
           END $$;
           CREATE TRIGGER doom AFTER INSERT ON embedding_tasks FOR EACH STATEMENT EXECUTE FUNCTION doom()"""
    )
    async with console(database.settings) as pilot:
        await pilot.press("8")
        await until_text(pilot, "missing 1,500")
        await begin_backfill(pilot)
        await pilot.press("y")
        await until_text(pilot, "Failed: Queueing 1,500 tasks, 1,000 done")
        assert isinstance(pilot.app.screen, Dialog)  # it stays until it is read
        await until_tasks(connection, pending=1_000)


async def test_where_nothing_may_be_changed_a_backfill_is_refused(
    database: Database, connection: Connection
) -> None:
    await add_articles(connection, ["Text."] * 3)
    async with console(database.settings, read_only=True) as pilot:
        await pilot.press("8")
        await until_text(pilot, "missing 3")
        await pilot.press("b")
        await until_text(pilot, "Read-only")
        assert not isinstance(pilot.app.screen, Dialog)


async def search_for(pilot: ConsolePilot, *keys: str) -> None:
    await pilot.press("8", "s")
    await until(lambda: isinstance(pilot.app.screen, ArticleSearchScreen))
    await pilot.press(*keys, "enter")


async def test_articles_are_found_by_meaning_and_opened(database: Database, connection: Connection) -> None:
    articles = await add_articles(connection, ["apples", "pears"], slug="fruit")
    async with ProviderStub(dimensions=DIMENSIONS) as stub:
        settings = with_stub(database, stub)
        for article, text in zip(articles, ("apples", "pears"), strict=True):
            await embed(connection, settings, article, text)
        async with console(settings) as pilot:
            await search_for(pilot, *"pears")
            await until(lambda: len(table(pilot, "#hits").keys) == 2)
            assert table(pilot, "#hits").keys[0] == str(articles[1])
            assert "1.000" in shown(pilot)
            await pilot.press("enter")
            await until(lambda: isinstance(pilot.app.screen, ArticleDetailScreen))
            await until_text(pilot, "fruit-1")
            await pilot.press("escape")
            await until(lambda: isinstance(pilot.app.screen, ArticleSearchScreen))


@pytest.mark.parametrize("stored", [False, True])
async def test_a_search_says_why_nothing_is_found(
    database: Database, connection: Connection, stored: bool
) -> None:
    [article] = await add_articles(connection, ["apples"])
    async with ProviderStub(dimensions=DIMENSIONS) as stub:
        settings = with_stub(database, stub)
        if stored:
            other = settings.model_copy(update={"model_name": "another"})
            await embed(connection, other, article, "apples")
            await connection.execute(
                """INSERT INTO embedq_articles (article_id, model, chunks, source, embedded_at)
                   VALUES ($1, $2, 1, 'x', now())""",
                article,
                stored_model(other),
            )
        async with console(settings, (120, 30)) as pilot:
            await search_for(pilot, *"pears")
            await until_text(pilot, "openai/another" if stored else "no article has been embedded yet")


async def test_a_slow_provider_can_be_given_up_and_one_that_is_gone_is_told(
    database: Database, connection: Connection
) -> None:
    await add_articles(connection, ["apples"])
    async with ProviderStub(dimensions=DIMENSIONS) as stub:
        stub.faults.latency_s = 60
        async with console(with_stub(database, stub), (120, 30)) as pilot:
            assert isinstance(pilot.app, Console)
            await search_for(pilot, *"pears")
            await until(lambda: stub.seen.requests == 1)
            await until_text(pilot, "esc: stop")
            await pilot.press("escape")
            await until_text(pilot, "Stopped")
            assert isinstance(pilot.app.screen, ArticleSearchScreen)
            await pilot.press("enter")
            await until(lambda: stub.seen.requests == 2)
            await pilot.press("enter")  # again, while the first is asked
            await until(lambda: stub.seen.requests == 3)
            await until_text(pilot, "esc: stop")
            await pilot.press("escape")
            await until_text(pilot, "Stopped")
            assert isinstance(pilot.app.screen, ArticleSearchScreen)
            await stub.stop()
            await pilot.press("enter")
            await until_shown(
                pilot, lambda screen: f"127.0.0.1:{stub.port}" in screen and "Asking" not in screen
            )
            await pilot.press("escape")
            await until(lambda: not isinstance(pilot.app.screen, ArticleSearchScreen))
