"""`embedq-tui queue`: articles that are named, and nothing else."""

from __future__ import annotations

import asyncio

from embedq_worker.errors import ExitCode
from tests.commands.actors import embed
from tests.commands.running import Tui
from tests.support.content import add_articles, until_true
from tests.support.databases import Connection, Database


async def tasks(connection: Connection) -> list[tuple[int, str, str]]:
    """The tasks that carry the slug of their article."""
    rows = await connection.fetch(
        """SELECT article_id, operation, priority
           FROM embedding_tasks t JOIN articles a ON (a.id, a.slug) = (t.article_id, t.slug)
           ORDER BY article_id"""
    )
    return [tuple(row) for row in rows]


async def test_articles_are_queued_by_id_and_by_slug_once(tui: Tui, connection: Connection) -> None:
    first, second, _ = await add_articles(connection, ["some text"] * 3, slug="page")
    slug = await connection.fetchval("SELECT slug FROM articles WHERE id = $1", second)
    await embed(connection, second)  # what is stored does not matter

    answer = await tui("queue", str(first), slug, str(second), "--priority", "high", "--json")

    assert answer.code == ExitCode.OK
    assert answer.document("queue") == {"queued": 2, "waiting": 0, "excluded": 0, "gone": 0}
    assert await tasks(connection) == [(first, "update", "high"), (second, "update", "high")]
    noted = await connection.fetchval(
        """SELECT ARRAY(SELECT jsonb_array_elements_text(metadata -> 'articles')::int)
           FROM embedding_audit_logs WHERE category = 'bulk_operations' AND metadata ? 'operator'"""
    )
    assert noted == [first, second]
    again = await tui("queue", str(first), "--json")
    assert again.code == ExitCode.OK
    assert again.document("queue") == {"queued": 0, "waiting": 1, "excluded": 0, "gone": 0}


async def test_an_unknown_slug_queues_nothing(tui: Tui, connection: Connection) -> None:
    [article] = await add_articles(connection, ["some text"])
    answer = await tui("queue", str(article), "no-such-page")
    assert answer.code == ExitCode.NO
    assert "no-such-page" in answer.err
    assert await tasks(connection) == []


async def test_what_is_not_to_be_embedded_is_told(tui: Tui, connection: Connection) -> None:
    kept, bare = await add_articles(connection, ["some text"] * 2)
    await embed(connection, kept)
    await connection.execute("UPDATE articles SET no_rag = true")

    answer = await tui("queue", str(kept), str(bare), str(bare + 1), "--json")

    assert answer.document("queue") == {"queued": 1, "waiting": 0, "excluded": 1, "gone": 1}
    assert await tasks(connection) == [(kept, "delete", "normal")]
    assert (await tui("queue", str(bare))).code == ExitCode.NO


async def test_an_article_that_others_hold_for_a_moment_is_queued_as_they_leave_it(
    tui: Tui, database: Database, connection: Connection
) -> None:
    [article] = await add_articles(connection, ["some text"])
    await connection.execute("UPDATE articles SET no_rag = true")
    other = await database.connect()
    async with other.transaction():
        await other.execute("UPDATE articles SET no_rag = false")
        queue = asyncio.ensure_future(tui("queue", str(article)))
        waits = """SELECT $1 = EXISTS (SELECT FROM pg_stat_activity
                                       WHERE datname = current_database() AND wait_event_type = 'Lock')"""
        for waiting in (True, False):  # longer than one attempt takes
            await until_true(connection, waits, waiting)
    assert (await queue).code == ExitCode.OK
    assert await tasks(connection) == [(article, "update", "normal")]
