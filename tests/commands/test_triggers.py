"""`embedq-tui triggers`: installed, removed, told."""

from __future__ import annotations

from embedq_worker.errors import ExitCode
from tests.commands.running import Tui
from tests.support.content import add_articles, statuses
from tests.support.databases import Connection


async def test_install_and_remove(tui: Tui, connection: Connection) -> None:
    state = (await tui("triggers", "status", "--json")).document("triggers")
    assert (state["installed"], state["changed"], state["max_attempts"]) == (False, False, None)
    await add_articles(connection, ["unseen"])

    state = (await tui("triggers", "install", "--json", EMBEDDING_MAX_RETRIES=5)).document("triggers")
    assert (state["installed"], state["enabled"], state["changed"]) == (True, True, True)
    assert state["max_attempts"] == 5
    await add_articles(connection, ["seen"], slug="new")
    assert await statuses(connection) == {"pending": 1}
    again = await tui("triggers", "install", "--json", EMBEDDING_MAX_RETRIES=5)
    assert again.document("triggers")["changed"] is False
    assert "insert" in (await tui("triggers", "status")).out

    await connection.execute("ALTER TABLE articles DISABLE TRIGGER embedq_article_insert")
    state = (await tui("triggers", "status", "--json")).document("triggers")
    assert (state["enabled"], state["disabled"]) == (False, ["insert"])
    await connection.execute("ALTER TABLE articles ENABLE ALWAYS TRIGGER embedq_article_insert")
    state = (await tui("triggers", "status", "--json")).document("triggers")
    assert (state["enabled"], state["disabled"]) == (True, [])

    assert (await tui("triggers", "remove")).code == ExitCode.OK
    state = (await tui("triggers", "remove", "--json")).document("triggers")
    assert (state["installed"], state["changed"]) == (False, False)


async def test_they_need_the_schema(bare_tui: Tui) -> None:
    answer = await bare_tui("triggers", "install")
    assert answer.code == ExitCode.NO
    assert "--migrate" in answer.err


async def test_alone_it_shows_its_help(tui: Tui) -> None:
    answer = await tui("triggers")
    assert answer.code == ExitCode.USAGE
    assert "install" in answer.err
