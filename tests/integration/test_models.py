"""Which models stored vectors come from, at little cost."""

from __future__ import annotations

import pytest

from embedq_worker.insights import models as insight
from embedq_worker.insights.models import models
from tests.support.content import add_articles, store_chunk
from tests.support.databases import Connection

READ = """SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables
          WHERE relname = 'embeddings'"""


async def known(connection: Connection, count: int) -> list[int]:
    """Articles with a chunk each, of a known model."""
    articles = await add_articles(connection, ["Text."] * count)
    await store_chunk(connection, *articles)
    await connection.execute("UPDATE embeddings SET model = 'a/b'")
    return articles


@pytest.mark.parametrize("theirs", [0, 9])
async def test_vectors_of_another_program_are_noticed_among_the_oldest_and_the_newest(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, theirs: int
) -> None:
    monkeypatch.setattr(insight, "LOOKED_AT", 3)
    articles = await known(connection, 10)
    assert (await models(connection)).unknown is False
    await connection.execute("UPDATE embeddings SET model = NULL WHERE article_id = $1", articles[theirs])
    assert (await models(connection)).unknown is True


async def test_few_vectors_are_read_where_all_are_known(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(insight, "LOOKED_AT", 10)
    await known(connection, 2_000)
    await connection.execute("ANALYZE embeddings")
    async with connection.transaction():
        before = await connection.fetchval(READ)
        assert (await models(connection)).unknown is False
        assert await connection.fetchval(READ) - before <= 20


async def test_articles_are_counted_exactly_up_to_a_bound(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    articles = await add_articles(connection, ["Text."] * 12)
    for article, model in zip(articles, ["old"] * 7 + ["new"] * 5, strict=True):
        await connection.execute(
            """INSERT INTO embedq_articles (article_id, source, model, chunks, embedded_at)
               VALUES ($1, '', $2, $3, now())""",
            article,
            model,
            0 if article in (articles[0], articles[-1]) else 1,
        )
    found = await models(connection)
    assert (found.articles, found.complete) == ((("old", 6), ("new", 4)), True)
    monkeypatch.setattr(insight, "COUNTED", 6)
    found = await models(connection)
    assert (found.articles, found.complete) == ((("old", 6), ("new", 4)), True)
    monkeypatch.setattr(insight, "COUNTED", 4)
    found = await models(connection)
    assert (dict(found.articles), found.complete) == ({"old": 4, "new": 4}, False)
    monkeypatch.setattr(insight, "COUNTED", 1)
    found = await models(connection)
    assert (dict(found.articles), found.complete) == ({"old": 1, "new": 1}, False)
