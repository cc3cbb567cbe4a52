"""What embedq recorded of an article goes with it, and keeps no program from deleting it."""

from __future__ import annotations

import pytest

from tests.support.databases import Connection
from tests.support.queue_world import World


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
@pytest.mark.parametrize(
    "statement", ["TRUNCATE articles, embeddings, embedding_tasks", "TRUNCATE articles CASCADE"]
)
async def test_a_program_without_rights_on_our_tables_may_truncate_its_own(
    world: World, writer: Connection, statement: str, isolation: str
) -> None:
    article = await world.article()
    await world.task(article)
    scope = await world.worker()
    held = await world.claim_one(scope)
    await writer.execute(f"BEGIN ISOLATION LEVEL {isolation}; SELECT FROM embeddings")
    assert await world.complete(scope, held) == ["stored"]
    await writer.execute(f"{statement}; COMMIT")
    left = await world.psql.fetchval("SELECT count(*) FROM embedq_articles")
    assert left == (isolation == "repeatable read")  # of no harm


ISOLATION = pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])


@ISOLATION
async def test_what_is_recorded_of_an_article_goes_with_it(
    world: World, writer: Connection, isolation: str
) -> None:
    articles = await world.articles(5)
    await world.tasks(articles)
    scope = await world.worker()
    await world.complete(scope, *await world.claim(scope))
    await writer.execute(f"SET default_transaction_isolation = '{isolation}'")
    await writer.execute("DELETE FROM articles WHERE id = $1", articles[0])
    await writer.execute("DELETE FROM articles WHERE id = ANY ($1::int[])", articles[1:3])
    left = await world.psql.fetch("SELECT article_id FROM embedq_articles ORDER BY article_id")
    assert [row["article_id"] for row in left] == articles[3:]
    await writer.execute("TRUNCATE articles CASCADE")
    assert not await world.psql.fetchval("SELECT count(*) FROM embedq_articles")


@ISOLATION
@pytest.mark.parametrize("statement", ["DELETE FROM articles", "TRUNCATE articles CASCADE"])
async def test_what_is_recorded_meanwhile_keeps_nobody_from_deleting(
    world: World, writer: Connection, statement: str, isolation: str
) -> None:
    await world.task(await world.article())
    scope = await world.worker()
    assert await world.complete(scope, await world.claim_one(scope)) == ["stored"]
    await writer.execute(f"BEGIN ISOLATION LEVEL {isolation}; SELECT FROM articles")
    await world.psql.execute("UPDATE embedq_articles SET embedded_at = now()")
    await writer.execute(f"{statement}; COMMIT")
    assert not await world.psql.fetchval("SELECT count(*) FROM articles")
