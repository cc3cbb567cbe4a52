"""Articles with the state of their embeddings: one, lists of them page by page, and counts by state.

sql/012_bulk (`embedq_backfill_page`) decides what is wrong with an article, as it does for a backfill: what
is listed as stale is what a backfill queues as stale.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from time import monotonic
from typing import NamedTuple

import asyncpg

from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.errors import UsageError
from embedq_worker.providers.naming import stored_model
from embedq_worker.queue.selection import BY_INDEX, Direction, pattern_of
from embedq_worker.schema.needs import Category

WALK_S = 0.5
"""Time limit for the search for a page; after that, what was found so far is returned."""

LOOKED = 5_000
"""Articles whose names are matched per statement."""

JUDGED = 1_000
"""Articles whose embeddings are checked per statement, which reads and hashes their texts."""

SPARSE = 16
"""Checking one article alone costs as much as this many in a contiguous range."""

COUNTED = 1_000
"""Articles per statement of a count."""


class State(StrEnum):
    """State of an article; the first that applies."""

    QUEUED = "queued"
    """Something is wrong with it, and a task that will fix it is pending or in progress."""
    EXCLUDED = "excluded"
    """It is excluded from embedding (no_rag); any embeddings it has are to be removed."""
    FAILED = Category.FAILED.value
    MISSING = Category.MISSING.value
    STALE = Category.STALE.value
    MODEL = Category.MODEL.value
    EMPTY = "empty"
    """It has no text, and therefore no embeddings."""
    EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class ArticleFilter:
    """Articles that match all of these conditions.

    Attributes:
        states: Only these; empty for any.
        folder: In this folder or a subfolder; empty for any.
        text: Contained in slug or title, in any case.
    """

    states: tuple[State, ...] = ()
    folder: str = ""
    text: str = ""

    def __post_init__(self) -> None:
        if not set(self.states) <= set(State):
            raise UsageError(f"no such state of an article: {', '.join(self.states)}")


class ArticleRow(NamedTuple):
    """An article and its stored embeddings.

    Attributes:
        category: What is wrong with it, even if a task is already queued; None if nothing is.
        size: Size of its text in bytes.
        chunks: Number of stored embeddings.
        models: Their models; an empty text for those of another program that did not record it.
        embedded_at: When our worker embedded it, or else when the newest embedding was stored.
    """

    id: int
    slug: str
    title: str
    folder: str
    state: State
    category: Category | None
    size: int
    chunks: int
    models: tuple[str, ...]
    embedded_at: datetime | None
    updated_at: datetime | None


class ArticlePage(NamedTuple):
    """A page of a list.

    Attributes:
        at: The database's time.
        articles: Fewer than requested, or none, if the search reached its time limit.
        looked_at: Articles examined for it.
        next: Id beyond which the next page begins; None at the end.
    """

    at: datetime
    articles: tuple[ArticleRow, ...]
    looked_at: int
    next: int | None


async def article_page(
    connection: Connection,
    settings: Settings,
    wanted: ArticleFilter,
    *,
    limit: int = 100,
    after: int | None = None,
    direction: Direction = "oldest",
    walk_s: float = WALK_S,
    progress: Callable[[int], None] = lambda articles: None,
) -> ArticlePage:
    """List articles by id, page by page.

    Articles are scanned by primary key, a bounded number per statement: first their names, then the texts and
    embeddings of those whose names match. A page without a filter reads only the articles it shows; if few
    match, the page ends after `walk_s` with what was found, and the next one continues from there.

    Args:
        connection: To the migrated database.
        settings: Of these, the model that embeddings should be from.
        wanted: Which articles.
        limit: Articles per page.
        after: `ArticlePage.next` of the page before, of the same filter and direction.
        direction: The highest or the lowest ids first.
        walk_s: Seconds after which no further statement is started.
        progress: Called after each statement with the number of articles examined.
    """
    model = stored_model(settings)
    beyond = "a.id < $1::int" if direction == "newest" else "a.id > $1::int"
    statement = _PAGE.format(beyond=beyond, order="DESC" if direction == "newest" else "ASC")
    place = after if after is not None else _FIRST[direction]
    found: list[ArticleRow] = []
    looked_at, more = 0, True
    deadline = monotonic() + walk_s
    while more and len(found) < limit and (not looked_at or monotonic() < deadline):
        room = limit - len(found)
        judged = min(room, JUDGED) if not wanted.states else JUDGED
        # Without a filter, every article examined is shown.
        looked = judged if not (wanted.folder or wanted.text) else LOOKED
        rows, step = await _step(
            connection,
            statement,
            place,
            looked,
            wanted.folder,
            pattern_of(wanted.text) if wanted.text else None,
            judged,
            model,
            list(wanted.states),
            room,
        )
        found += rows
        looked_at += step["looked_at"]
        progress(looked_at)
        place = step["last"] if step["last"] is not None else place
        more = step["looked_at"] == looked or step["cut"]
    end = await connection.fetchrow(
        f"SELECT clock_timestamp() AS at, EXISTS (SELECT FROM articles a WHERE {beyond}) AS more", place
    )
    assert end is not None
    return ArticlePage(end["at"], tuple(found), looked_at, place if end["more"] else None)


async def article_row(connection: Connection, settings: Settings, article: int) -> ArticleRow | None:
    """Read one article.

    Args:
        connection: To the migrated database.
        settings: Of these, the model that embeddings should be from.
        article: Its id.

    Returns:
        None if there is no such article.
    """
    row = await connection.fetchrow(_ONE, article, stored_model(settings))
    return _article(row) if row is not None else None


_FIRST: Mapping[Direction, int] = {"oldest": -(2**31), "newest": 2**31 - 1}


async def _step(
    connection: Connection, statement: str, *arguments: object
) -> tuple[list[ArticleRow], asyncpg.Record]:
    async with connection.transaction(readonly=True):
        await connection.execute(BY_INDEX)
        rows = await connection.fetch(statement, *arguments)
    return [_article(row) for row in rows if row["id"] is not None], rows[0]


_STATE = """
CASE WHEN p.waiting THEN 'queued' WHEN a.no_rag THEN 'excluded' WHEN p.category IS NOT NULL THEN p.category
     WHEN {chunks} = 0 THEN 'empty' ELSE 'embedded' END
"""

_FACTS = f"""
p.category, coalesce(p.bytes, 0) AS size, e.chunks, e.models, e.newest, s.embedded_at,
{_STATE.format(chunks="e.chunks")} AS state
"""
_STORED = """
CROSS JOIN LATERAL (
    SELECT count(*)::int AS chunks, max(e.created_at) AS newest,
           array_agg(DISTINCT coalesce(e.model, '')::text) AS models
    FROM embeddings e WHERE e.article_id = a.id) AS e
LEFT JOIN embedq_articles s ON s.article_id = a.id
"""

_ONE = f"""
SELECT a.id, a.slug, a.title, a.folder, a.updated_at, {_FACTS}
FROM embedq_backfill_page($1::int - 1, 1, $2::text, NULL) AS p
JOIN articles a ON a.id = p.article_id {_STORED}
WHERE a.id = $1::int
"""

# Articles whose names match are checked as one range, with those in between, or one by one if too many lie in
# between. The scan has come as far as the last article shown if the page is full, the last one checked if
# more names match, otherwise the last one read.
_PAGE = f"""
WITH looked AS MATERIALIZED (
    SELECT a.id, a.slug, a.title, a.folder, a.no_rag, a.updated_at FROM articles a
    WHERE {{beyond}} ORDER BY a.id {{order}} LIMIT $2::int
), fitting AS MATERIALIZED (
    SELECT a.* FROM looked a
    WHERE embedq_is_within(a.folder, $3)
      AND ($4::text IS NULL OR a.slug ILIKE $4::text OR a.title ILIKE $4::text)
    ORDER BY a.id {{order}} LIMIT $5::int
), bounds AS MATERIALIZED (
    SELECT b.low, b.n, (SELECT count(*) FROM looked l WHERE l.id BETWEEN b.low AND b.high)::int AS between
    FROM (SELECT min(id) AS low, max(id) AS high, count(*) AS n FROM fitting) AS b
), stretches AS MATERIALIZED (
    SELECT b.low - 1 AS after, b.between AS n FROM bounds b WHERE b.between <= {SPARSE} * b.n
    UNION ALL
    SELECT a.id - 1, 1 FROM fitting a, bounds b WHERE b.between > {SPARSE} * b.n
), judged AS MATERIALIZED (
    SELECT a.*, {_FACTS}
    FROM stretches t
    CROSS JOIN LATERAL embedq_backfill_page(t.after, t.n, $6::text, NULL) AS p
    JOIN fitting a ON a.id = p.article_id {_STORED}
), shown AS MATERIALIZED (
    SELECT * FROM judged WHERE state = ANY ($7::text[]) OR $7::text[] = '{{{{}}}}'
    ORDER BY id {{order}} LIMIT $8::int
), step AS (
    SELECT (SELECT count(*) FROM looked) AS looked_at,
           (SELECT count(*) FROM shown) = $8::int AS filled, (SELECT count(*) FROM fitting) = $5::int AS cut
)
SELECT l.*, s.* FROM (
    SELECT CASE WHEN filled THEN (SELECT id FROM shown ORDER BY id {{order}} OFFSET $8::int - 1 LIMIT 1)
                WHEN cut THEN (SELECT id FROM fitting ORDER BY id {{order}} OFFSET $5::int - 1 LIMIT 1)
                ELSE (SELECT id FROM looked ORDER BY id {{order}} OFFSET greatest(looked_at - 1, 0) LIMIT 1)
           END AS last, looked_at, cut OR filled AS cut FROM step) AS s
LEFT JOIN shown l ON true ORDER BY l.id {{order}}
"""


def _article(row: asyncpg.Record) -> ArticleRow:
    return ArticleRow(
        id=row["id"],
        slug=row["slug"] or "",
        title=row["title"] or "",
        folder=row["folder"] or "",
        state=State(row["state"]),
        category=Category(row["category"]) if row["category"] else None,
        size=row["size"],
        chunks=row["chunks"],
        models=tuple(row["models"] or ()),
        embedded_at=row["embedded_at"] or row["newest"],
        updated_at=row["updated_at"],
    )


class StateCounts(NamedTuple):
    """Articles by state, of those examined so far.

    Attributes:
        articles: Articles examined.
        by_state: Contains every state.
        done: All articles have been examined.
    """

    articles: int
    by_state: Mapping[State, int]
    done: bool


async def coverage_by_state(
    connection: Connection, settings: Settings, *, page: int = COUNTED
) -> AsyncGenerator[StateCounts, None]:
    """Count the articles by state, a bounded number per statement; reads and hashes every text.

    Args:
        connection: To the migrated database; others may use it between two pages.
        settings: Of these, the model that embeddings should be from.
        page: Articles per statement.

    Yields:
        The counts so far, after each page; the last ones are `done`.
    """
    model, place, articles = stored_model(settings), _FIRST["oldest"], 0
    sums = dict.fromkeys(State, 0)
    done = False
    while not done:
        rows = await connection.fetch(_COUNT, place, page, model)
        for row in rows:
            sums[State(row["state"])] += row["n"]
            place = max(place, row["last"])
        looked_at = sum(row["n"] for row in rows)
        articles += looked_at
        done = looked_at < page
        yield StateCounts(articles, dict(sums), done)


_COUNT = f"""
SELECT {_STATE.format(chunks="e.n")} AS state, count(*) AS n, max(p.article_id) AS last
FROM embedq_backfill_page($1, $2, $3, NULL) AS p
JOIN LATERAL (SELECT a.no_rag FROM articles a WHERE a.id = p.article_id OFFSET 0) AS a ON true
CROSS JOIN LATERAL (
    SELECT count(*) AS n FROM (SELECT FROM embeddings WHERE article_id = p.article_id LIMIT 1) AS one) AS e
GROUP BY 1
"""
