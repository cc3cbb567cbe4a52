"""Search by meaning: articles ranked by the cosine similarity of their best chunk to a query vector.

Small tables are searched exactly. In a large one with a vector index, the index proposes chunks, which are
used only if they cover enough articles; otherwise (a narrow folder, a poor index) the search is exact too.
Without pgvector, the vectors are streamed and compared here.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import mul

import asyncpg

from embedq_worker.database.connections import Connection
from embedq_worker.providers.base import Vector
from embedq_worker.schema.storage import VectorStorage, inspect_storage

SNIPPET_WIDTH = 160  # characters
EXACT_BELOW = 50_000  # chunks; 30,000 of 256 dimensions take 40 ms, the index 17 ms
# Chunks requested from the index per article, because chunks of the same article are often close together.
CHUNKS_PER_ARTICLE = (8, 64)
# An ivfflat index built on an empty table, as article applications do, finds 28 % of the ten best with its
# default of one probe, 98 % with 32.
IVFFLAT_PROBES = 32
STREAM_ROWS = 256  # vectors held in memory at a time without pgvector

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class SearchHit:
    """An article and its best matching chunk.

    Attributes:
        heading_path: Headings above the chunk, outermost first.
        score: Cosine similarity, -1 to 1.
        snippet: One line of the chunk, at most 160 characters.
    """

    article_id: int
    slug: str
    title: str
    heading_path: tuple[str, ...]
    chunk_index: int
    score: float
    snippet: str

    @property
    def path(self) -> str:
        """The headings in one line, without the title."""
        return " > ".join(part for part in self.heading_path if part != self.title)


@dataclass(frozen=True, slots=True)
class _Question:
    vector: Vector
    model: str
    any_model: bool
    folder: str
    limit: int

    @property
    def filters(self) -> tuple[str, bool, str]:
        """Parameters $1 to $3 of every statement."""
        return self.model, self.any_model, self.folder

    @property
    def literal(self) -> str:
        """The vector in pgvector's text format."""
        return json.dumps(self.vector.tolist())


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A candidate: the chunk's row, its article, and its score."""

    id: int
    article_id: int
    score: float

    @property
    def rank(self) -> tuple[float, int, int]:
        """Higher is better; ties are broken by age, so that results are stable."""
        return self.score, -self.article_id, -self.id


async def search(
    connection: Connection,
    query_vector: Vector,
    *,
    model: str,
    limit: int = 10,
    folder: str | None = None,
    any_model: bool = False,
    query: str = "",
    exact_below: int = EXACT_BELOW,
) -> list[SearchHit]:
    """Rank articles by meaning. Articles marked no_rag are never shown.

    Args:
        connection: To a migrated database; statements run in a transaction (or savepoint) of their own.
        query_vector: The query, embedded by `model`.
        model: Name stored with the vectors to compare; others are ignored.
        limit: Maximum number of articles, at least 1.
        folder: This folder and its subfolders; None or empty for all.
        any_model: Also compare vectors of unknown model (written by another program).
        query: The words searched for; the snippet is chosen around them.
        exact_below: Number of chunks (as estimated by PostgreSQL) up to which a vector index is not used.

    Returns:
        The best chunk of each article, best first. Empty if nothing is comparable: the dimensions differ, or
        the query vector is zero or not finite.

    Raises:
        ValueError: `limit` is below 1.
        SchemaError: The table is missing, or lacks our columns.
    """
    if limit < 1:
        raise ValueError("limit must be at least 1")
    storage = await inspect_storage(connection)
    question = _Question(query_vector, model, any_model, (folder or "").strip("/"), limit)
    if not _has_direction(query_vector) or storage.dimensions not in (-1, len(query_vector)):
        return []
    async with connection.transaction():
        if storage.schema is None:
            best = await _best_by_streaming(connection, question)
        elif storage.indexed and storage.chunks > exact_below:
            best = await _best_by_index(connection, storage, question)
        else:
            best = await _best_exactly(connection, storage, question)
        return await _hits(connection, best, query)


def snippet(text: str, query: str) -> str:
    """Choose a one-line excerpt of a text that contains most words of the query.

    Args:
        text: Any text.
        query: Words.

    Returns:
        At most `SNIPPET_WIDTH` characters, cut between words, with an ellipsis at each end that was cut.
    """
    width = SNIPPET_WIDTH
    line = " ".join(_UNPRINTABLE.sub(" ", text).split())
    if len(line) <= width:
        return line
    start = _start_of_window(line, query, width)
    end = start + width - 1 - (start > 0)
    if end >= len(line) - 1:
        start, end = len(line) - width + 1, len(line)
    if start > 0:
        start = _after_space(line, start, end)
    if end < len(line):
        end = _before_space(line, start, end)
    return f"{'…' if start > 0 else ''}{line[start:end]}{'…' if end < len(line) else ''}"


def _start_of_window(line: str, query: str, width: int) -> int:
    words = set(re.findall(r"\w+", query.lower()))
    words = {word for word in words if len(word) > 2} or words
    if not words:
        return 0
    pattern = re.compile("|".join(sorted(words, key=len, reverse=True)), re.IGNORECASE)
    found = [(match.start(), match[0].lower()) for match in pattern.finditer(line)][:200]
    lead = width // 4

    def distinct_words(start: int) -> int:
        return len({word for at, word in found if start <= at < start + width - lead})

    best = max((at for at, _ in found), key=distinct_words, default=0)
    return max(0, best - lead)


def _after_space(line: str, start: int, end: int) -> int:
    if line[start - 1] == " ":
        return start
    space = line.find(" ", start, start + (end - start) // 4)  # a longer word may be cut
    return space + 1 if space >= 0 else start


def _before_space(line: str, start: int, end: int) -> int:
    if line[end] == " ":
        return end
    space = line.rfind(" ", end - (end - start) // 4, end)
    return space if space >= 0 else end


def _has_direction(vector: Vector) -> bool:
    return 0 < math.hypot(*vector) < math.inf


# $1 to $3: the question's filters.
_CANDIDATES = """
FROM embeddings e JOIN articles a ON a.id = e.article_id
WHERE a.no_rag IS NOT TRUE
  AND (e.model = $1 OR ($2 AND e.model IS NULL))
  AND embedq_is_within(a.folder, $3)
"""


def _distance(storage: VectorStorage, dimensions: int) -> str:
    # The extension may live in a schema that is not in search_path.
    distance = f"e.vector OPERATOR({storage.schema}.<=>) $4::text::{storage.schema}.vector"
    if storage.dimensions != -1:
        return distance
    # If the column has no declared dimensions, rows may differ, and comparing those would be an error.
    return f"CASE WHEN {storage.schema}.vector_dims(e.vector) = {dimensions:d} THEN {distance} END"


async def _best_exactly(connection: Connection, storage: VectorStorage, question: _Question) -> list[_Chunk]:
    distance = _distance(storage, len(question.vector))
    statement = f"""
        SELECT id, article_id, distance FROM (
            SELECT DISTINCT ON (article_id) id, article_id, distance
            FROM (SELECT e.id, e.article_id, {distance} AS distance {_CANDIDATES}) chunk
            ORDER BY article_id, distance, id) best
        ORDER BY distance, article_id LIMIT $5"""
    return _chunks(await connection.fetch(statement, *question.filters, question.literal, question.limit))


async def _best_by_index(connection: Connection, storage: VectorStorage, question: _Question) -> list[_Chunk]:
    distance = _distance(storage, len(question.vector))
    statement = f"""
        SELECT e.id, e.article_id, {distance} AS distance {_CANDIDATES} AND e.vector IS NOT NULL
        ORDER BY {distance} LIMIT $5"""
    await connection.execute("SELECT set_config('ivfflat.probes', $1, true)", str(IVFFLAT_PROBES))
    for width in CHUNKS_PER_ARTICLE:
        wanted = question.limit * width
        candidates = str(min(max(wanted, 100), 1000))  # 1000 is the maximum of pgvector
        await connection.execute("SELECT set_config('hnsw.ef_search', $1, true)", candidates)
        rows = await connection.fetch(statement, *question.filters, question.literal, wanted)
        best = _best_per_article(_chunks(rows), question.limit)
        if len(best) == question.limit:
            return best
        if len(rows) < wanted:  # the index finds no more, although there may be more
            break
    return await _best_exactly(connection, storage, question)


def _chunks(rows: Iterable[asyncpg.Record]) -> list[_Chunk]:
    return [
        _Chunk(row["id"], row["article_id"], 1.0 - row["distance"])
        for row in rows
        if row["distance"] is not None and math.isfinite(row["distance"])  # NaN for a zero vector
    ]


def _best_per_article(chunks: Iterable[_Chunk], limit: int) -> list[_Chunk]:
    best: dict[int, _Chunk] = {}
    for chunk in sorted(chunks, key=lambda chunk: chunk.rank, reverse=True):
        best.setdefault(chunk.article_id, chunk)
    return list(best.values())[:limit]


async def _best_by_streaming(connection: Connection, question: _Question) -> list[_Chunk]:
    statement = f"""
        SELECT e.id, e.article_id, e.vector_data::text AS vector {_CANDIDATES}
          AND CASE WHEN jsonb_typeof(e.vector_data) = 'array'
                   THEN jsonb_array_length(e.vector_data) = $4 ELSE false END"""
    cursor = await connection.cursor(statement, *question.filters, len(question.vector))
    best: list[_Chunk] = []
    while rows := await cursor.fetch(STREAM_ROWS):
        # Parsing is most of the work; in a thread, so that a console stays responsive.
        scored = await asyncio.to_thread(_score, question.vector, rows)
        best = _best_per_article([*best, *scored], question.limit)
    return best


def _score(query: Vector, rows: Sequence[asyncpg.Record]) -> list[_Chunk]:
    # NumPy does not pay off: parsing takes 90 % of the time, and 768 products are too few for an array.
    length = math.hypot(*query)
    unit = [component / length for component in query]
    scores = ((row, _cosine(unit, row["vector"])) for row in rows)
    return [_Chunk(row["id"], row["article_id"], score) for row, score in scores if score is not None]


def _cosine(unit: Sequence[float], stored: str) -> float | None:
    """Cosine similarity; None if another program stored something that is not a usable vector."""
    try:
        vector = json.loads(stored)
        length = math.hypot(*vector)
        cosine = sum(map(mul, unit, vector)) / length
    except (TypeError, ValueError, RecursionError, ZeroDivisionError, OverflowError):
        return None
    return max(-1.0, min(1.0, cosine)) if math.isfinite(length) else None


async def _hits(connection: Connection, best: Sequence[_Chunk], query: str) -> list[SearchHit]:
    statement = """
        SELECT e.id, e.article_id, a.slug, a.title, e.heading_path, e.chunk_index, e.text_content
        FROM embeddings e JOIN articles a ON a.id = e.article_id WHERE e.id = ANY ($1::bigint[])"""
    rows = {row["id"]: row for row in await connection.fetch(statement, [chunk.id for chunk in best])}
    return [_hit(rows[chunk.id], chunk.score, query) for chunk in best if chunk.id in rows]


def _hit(row: asyncpg.Record, score: float, query: str) -> SearchHit:
    return SearchHit(
        article_id=row["article_id"],
        slug=row["slug"],
        title=row["title"],
        heading_path=tuple(heading for heading in row["heading_path"] or () if heading),
        chunk_index=row["chunk_index"],
        score=score,
        snippet=snippet(row["text_content"] or "", query),
    )
