"""Articles as an operator sees them: how each stands, page by page, whatever the size of the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from embedq_worker.configuration.settings import Settings
from embedq_worker.errors import UsageError
from embedq_worker.insights.articles import (
    ArticleFilter,
    ArticleRow,
    State,
    article_page,
    coverage_by_state,
)
from embedq_worker.insights.coverage import coverage
from embedq_worker.queue.selection import Direction
from embedq_worker.schema.needs import Category
from tests.commands.actors import MODEL, embed
from tests.integration.test_action_plans import reading_at_most
from tests.support.backfilling import found
from tests.support.content import add_articles, queue_tasks
from tests.support.databases import Connection, Database

DIRECTIONS: Sequence[Direction] = ("newest", "oldest")


@pytest.fixture
def settings(database: Database) -> Settings:
    """With the model under which `embed` stores."""
    provider, _, name = MODEL.partition("/")
    return database.settings.model_copy(update={"provider": provider, "model_name": name})


@pytest.fixture
async def various(connection: Connection) -> dict[int, State]:
    """Articles of each state, by id."""
    change = connection.execute
    ids = await add_articles(connection, ["Text."] * 12, folder="/docs/a/")
    ids += await add_articles(connection, ["", " \n"], slug="blank_%", folder="docs")
    ids += await add_articles(connection, ["Text."], slug="hidden", folder="docsy", no_rag=True)
    for article in (*ids[:7], *ids[10:12]):
        await embed(connection, article)
    await change("UPDATE articles SET content = 'Other.' WHERE id = ANY ($1)", [ids[2], ids[3], ids[4]])
    await change("UPDATE embeddings SET model = 'openai/other' WHERE article_id = $1", ids[5])
    await change("UPDATE articles SET no_rag = true WHERE id = $1", ids[6])
    (failed,) = await queue_tasks(connection, [ids[4]])
    await change("UPDATE embedding_tasks SET status = 'failed' WHERE id = $1", failed)
    await queue_tasks(connection, [ids[3], ids[8], ids[0]])
    states = [State.EMBEDDED, State.EMBEDDED, State.STALE, State.QUEUED, State.FAILED, State.MODEL]
    states += [State.EXCLUDED, State.MISSING, State.QUEUED, State.MISSING, State.EMBEDDED, State.EMBEDDED]
    states += [State.EMPTY, State.EMPTY, State.EXCLUDED]
    return dict(zip(ids, states, strict=True))


async def pages(
    connection: Connection,
    settings: Settings,
    wanted: ArticleFilter,
    direction: Direction = "oldest",
    *,
    limit: int = 4,
) -> list[ArticleRow]:
    """All pages of a list, each as short as impatience makes it."""
    rows: list[ArticleRow] = []
    after = None
    while True:
        page = await article_page(
            connection, settings, wanted, limit=limit, after=after, direction=direction, walk_s=0
        )
        assert len(page.articles) <= limit
        rows += page.articles
        if page.next is None:
            return rows
        assert page.next != after
        after = page.next


async def test_each_article_stands_as_it_does(
    connection: Connection, settings: Settings, various: dict[int, State]
) -> None:
    for direction in DIRECTIONS:
        rows = await pages(connection, settings, ArticleFilter(), direction)
        assert [row.id for row in rows] == sorted(various, reverse=direction == "newest")
        assert {row.id: row.state for row in rows} == various
    by_id = {row.id: row for row in rows}
    stored = by_id[min(various)]
    assert (stored.chunks, stored.models, stored.category) == (1, (MODEL,), None)
    assert stored.embedded_at
    wrong = Counter(row.category.value for row in rows if row.category and row.state is not State.QUEUED)
    assert await found(connection) == wrong
    assert {row.category for row in rows if row.state is State.QUEUED} == {Category.STALE, Category.MISSING}


async def test_pages_hold_what_fits_once(
    connection: Connection, settings: Settings, various: dict[int, State]
) -> None:
    for state in State:
        for direction in DIRECTIONS:
            rows = await pages(connection, settings, ArticleFilter(states=(state,)), direction, limit=1)
            fitting = sorted(each for each in various if various[each] is state)
            assert [row.id for row in rows] == (fitting if direction == "oldest" else fitting[::-1])
    for wanted, count in (
        (ArticleFilter(folder="docs"), 14),
        (ArticleFilter(folder="docs/a", states=(State.EXCLUDED, State.STALE)), 2),
        (ArticleFilter(text="K_%-1"), 1),
        (ArticleFilter(text="title of HID"), 1),
        (ArticleFilter(text="_"), 2),
        (ArticleFilter(folder="doc"), 0),
    ):
        assert len(await pages(connection, settings, wanted)) == count, wanted
    whole = await article_page(connection, settings, ArticleFilter(states=(State.FAILED,)))
    assert (len(whole.articles), whole.looked_at, whole.next) == (1, len(various), None)


async def test_a_page_that_ends_among_names_that_match_loses_none_of_them(
    connection: Connection,
    settings: Settings,
    various: dict[int, State],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("embedq_worker.insights.articles.JUDGED", 2)
    for direction in DIRECTIONS:
        for state, count in ((State.EMPTY, 2), (State.EMBEDDED, 4)):
            wanted = ArticleFilter(folder="docs", states=(state,))
            assert len(await pages(connection, settings, wanted, direction)) == count


async def test_counts_agree_with_lists(
    connection: Connection, settings: Settings, various: dict[int, State]
) -> None:
    counts = [each async for each in coverage_by_state(connection, settings, page=4)]
    assert [count.done for count in counts] == [False] * 3 + [True]
    assert counts[-1].articles == len(various)
    assert +Counter(counts[-1].by_state) == Counter(various.values())


async def test_no_articles(connection: Connection, settings: Settings) -> None:
    page = await article_page(connection, settings, ArticleFilter(states=(State.STALE,)))
    assert (page.articles, page.next, page.looked_at) == ((), None, 0)
    assert [count.articles async for count in coverage_by_state(connection, settings)] == [0]


async def test_coverage_is_of_the_articles_that_should_be_embedded(connection: Connection) -> None:
    done, _ = await add_articles(connection, ["Text."] * 2, folder="docs")
    (blank,) = await add_articles(connection, [""], slug="blank", folder="/docs/api/")
    await add_articles(connection, ["Text."], slug="hidden", folder="docs", no_rag=True)
    for article in (done, blank):
        await embed(connection, article)
    await connection.execute("DELETE FROM embeddings WHERE article_id = $1", blank)
    await connection.execute("UPDATE embedq_articles SET chunks = 0 WHERE article_id = $1", blank)
    assert await coverage(connection) == await coverage(connection, "docs") == (3, 2)
    assert await coverage(connection, "docs/api") == (1, 1)


async def test_an_unknown_state_is_refused() -> None:
    with pytest.raises(UsageError):
        ArticleFilter(states=("gone",))  # type: ignore[arg-type]


async def test_a_page_reads_no_table_from_end_to_end(
    connection: Connection, database: Database, settings: Settings
) -> None:
    await connection.execute("ANALYZE articles, embeddings, embedq_articles")  # of nothing
    await connection.execute(
        """INSERT INTO articles (title, slug, content, folder)
           SELECT 'T', 's-' || n, 'x', 'f-' || n % 10 FROM generate_series(1, 20000) n;
           INSERT INTO embeddings (article_id, chunk_id, chunk_index, text_content, model)
           SELECT id, slug || '.md#' || n, n, 'x', 'openai/stub' FROM articles, generate_series(0, 1) n;
           INSERT INTO embedq_articles (article_id, source, model, chunks, embedded_at)
           SELECT id, embedq_source(title, slug, content), 'openai/stub', 2, now() FROM articles"""
    )
    for _ in range(2):
        for wanted, rows in (
            (ArticleFilter(), 2_000),
            (ArticleFilter(text="s-19999"), 26_000),
            (ArticleFilter(states=(State.STALE,)), 8_000),
        ):
            async with reading_at_most(connection, rows, str(wanted)):
                page = await article_page(
                    connection, settings, wanted, walk_s=30 if wanted.text else 0, direction="oldest"
                )
            assert page.at
        await connection.execute("ANALYZE articles, embeddings, embedq_articles")
    seen: list[int] = []
    stale = ArticleFilter(states=(State.STALE,))
    await article_page(connection, settings, stale, walk_s=30, progress=seen.append)
    assert seen[0] < seen[1] < seen[-1] == 20_000
