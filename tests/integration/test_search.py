"""Search by meaning on a real PostgreSQL: exactly, through a vector index, and without pgvector."""

from __future__ import annotations

import json
import math
import random
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedq_worker.content.reference_corpus import python_topics
from embedq_worker.content.search import SearchHit, search, snippet
from embedq_worker.errors import SchemaError
from tests.support.vector_storage import store_as_json

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Storage = Literal["exact", "hnsw", "ivfflat", "undeclared", "jsonb"]

MODEL = "local/test"
DIMENSIONS = 8
X = array("f", [1, 0, 0, 0, 0, 0, 0, 0])


def towards(cosine: float) -> list[float]:
    """A vector of length 3 whose cosine to X is as given."""
    return [3 * cosine, 3 * math.sqrt(1 - cosine * cosine), 0, 0, 0, 0, 0, 0]


@dataclass
class Library:
    """Articles with chunks in one kind of storage."""

    connection: Connection
    storage: Storage
    chunks: dict[int, list[Sequence[float]]] = field(default_factory=dict)

    @property
    def column(self) -> str:
        return "vector_data" if self.storage == "jsonb" else "vector"

    async def article(
        self, slug: str, *vectors: Sequence[float] | None, folder: str = "", no_rag: bool | None = None
    ) -> int:
        article_id = await self.connection.fetchval(
            """INSERT INTO articles (title, slug, content, folder, no_rag)
               VALUES (upper($1::text), $1::text, '', $2, $3) RETURNING id""",
            slug,
            folder,
            no_rag,
        )
        for index, vector in enumerate(vectors):
            await self.chunk(article_id, index, None if vector is None else json.dumps(vector))
            if vector is not None:
                self.chunks.setdefault(article_id, []).append(vector)
        return int(article_id)

    async def chunk(
        self, article_id: int, index: int, literal: str | None, model: str | None = MODEL
    ) -> None:
        type_name = "jsonb" if self.storage == "jsonb" else "vector"
        await self.connection.execute(
            f"""INSERT INTO embeddings
                    (article_id, chunk_id, chunk_index, heading_path, text_content, model, {self.column})
                VALUES ($1, format('%s.md#%s', $1::int, $2::int), $2, $3, $4, $5, $6::text::{type_name})""",
            article_id,
            index,
            ["Guide", f"Part {index}"],
            f"words of chunk {index}",
            model,
            literal,
        )

    async def search(
        self,
        vector: Sequence[float] = X,
        limit: int = 10,
        folder: str | None = None,
        any_model: bool = False,
    ) -> list[SearchHit]:
        indexed = self.storage in ("hnsw", "ivfflat")
        if indexed:  # a table as small as these would be read as a whole otherwise
            await self.connection.execute(
                "ANALYZE embeddings; SET enable_seqscan = off; SET enable_sort = off"
            )
        return await search(
            self.connection,
            array("f", vector),
            model=MODEL,
            limit=limit,
            folder=folder,
            any_model=any_model,
            exact_below=0 if indexed else 1_000_000,
        )

    async def slugs(self, folder: str | None = None, any_model: bool = False) -> list[str]:
        return [hit.slug for hit in await self.search(folder=folder, any_model=any_model)]


NEEDS_PGVECTOR = [
    pytest.param(storage, marks=pytest.mark.pgvector)
    for storage in ("exact", "hnsw", "ivfflat", "undeclared")
]


@pytest.fixture(params=[*NEEDS_PGVECTOR, "jsonb"])
async def library(request: pytest.FixtureRequest, connection: Connection) -> Library:
    storage: Storage = request.param
    if storage == "jsonb":
        await store_as_json(connection)
    elif storage == "undeclared":
        await connection.execute("ALTER TABLE embeddings ALTER COLUMN vector TYPE vector")
    elif storage == "hnsw":
        await connection.execute("CREATE INDEX near ON embeddings USING hnsw (vector vector_cosine_ops)")
    elif storage == "ivfflat":  # on the empty table, as article applications do: a poor index
        await connection.execute(
            "CREATE INDEX near ON embeddings USING ivfflat (vector vector_cosine_ops) WITH (lists = 32)"
        )
    return Library(connection, storage)


async def test_articles_are_ranked_by_their_best_chunk(library: Library) -> None:
    await library.article("middling", towards(0.7), towards(0.6))
    best = await library.article("best", towards(-0.5), towards(0.9), towards(0.1))
    await library.article("opposite", towards(-1))
    hits = await library.search()
    assert [hit.slug for hit in hits] == ["best", "middling", "opposite"]
    assert [hit.score for hit in hits] == pytest.approx([0.9, 0.7, -1.0], abs=1e-5)
    assert hits[0] == SearchHit(
        best, "best", "BEST", ("Guide", "Part 1"), 1, hits[0].score, "words of chunk 1"
    )


@pytest.mark.parametrize("seed", [1, 2])
async def test_agrees_with_a_comparison_by_hand(library: Library, seed: int) -> None:
    rng = random.Random(seed)

    def vector() -> list[float]:
        return [round(rng.gauss(0, 1), 3) for _ in range(DIMENSIONS)]

    def cosine(left: Sequence[float], right: Sequence[float]) -> float:
        return sum(a * b for a, b in zip(left, right, strict=True)) / math.hypot(*left) / math.hypot(*right)

    async with library.connection.transaction():
        for number in range(120):
            await library.article(f"a{number}", *(vector() for _ in range(rng.randint(1, 6))))
    for limit in (1, 7, 500):
        query = vector()
        best = {article: max(cosine(query, v) for v in rows) for article, rows in library.chunks.items()}
        expected = sorted(best, key=lambda article: -best[article])[:limit]
        hits = await library.search(query, limit)
        assert [hit.article_id for hit in hits] == expected
        assert [hit.score for hit in hits] == pytest.approx([best[article] for article in expected], abs=1e-5)


async def test_an_article_of_many_near_chunks_does_not_crowd_out_the_others(library: Library) -> None:
    await library.article("crowd", *(towards(0.99 - index / 10_000) for index in range(300)))
    for number in range(3):
        await library.article(f"other{number}", towards(0.5 - number / 10))
    hits = await library.search(limit=3)
    assert [hit.slug for hit in hits] == ["crowd", "other0", "other1"]


async def test_no_rag_articles_are_never_shown(library: Library) -> None:
    await library.article("hidden", towards(1), no_rag=True)
    await library.article("shown", towards(0.2), no_rag=False)
    await library.article("unset", towards(0.1), no_rag=None)
    assert await library.slugs() == ["shown", "unset"]


async def test_only_vectors_of_the_model_are_compared(library: Library) -> None:
    known = await library.article("known", towards(0.1))
    unknown = await library.article("unknown")
    other = await library.article("other")
    await library.chunk(unknown, 0, json.dumps(towards(0.9)), model=None)
    await library.chunk(other, 0, json.dumps(towards(1)), model="openai/other")
    await library.chunk(known, 1, json.dumps(towards(1)), model="openai/other")
    assert await library.slugs() == ["known"]
    assert await library.slugs(any_model=True) == ["unknown", "known"]


async def test_chunks_whose_ids_outgrew_an_integer_are_found(library: Library) -> None:
    await library.connection.execute(
        """ALTER TABLE embeddings ALTER COLUMN id TYPE bigint;
           ALTER SEQUENCE embeddings_id_seq AS bigint RESTART WITH 3000000000"""
    )
    await library.article("late", towards(0.5))
    assert await library.slugs() == ["late"]


async def test_a_folder_includes_those_below_it_and_no_namesakes(library: Library) -> None:
    for slug, folder in [("in", "ops"), ("below", "/ops/db/"), ("namesake", "opsx"), ("top", "")]:
        await library.article(slug, towards(0.5), folder=folder)
    assert await library.slugs(folder="/ops/") == ["in", "below"]
    assert await library.slugs(folder="ops/db") == ["below"]
    assert await library.slugs(folder="o%") == []
    assert await library.slugs(folder="") == await library.slugs() == ["in", "below", "namesake", "top"]


async def test_what_cannot_be_compared_is_passed_over(library: Library) -> None:
    await library.article("none", None)
    await library.article("zero", [0.0] * DIMENSIONS)
    await library.article("good", [0.0] * DIMENSIONS, towards(0.5))
    if library.storage in ("undeclared", "jsonb"):
        await library.article("short", [1.0, 0.0])
    if library.storage == "jsonb":
        odd = await library.article("odd")
        stored = ["null", "1", '"x"', "{}", "[]"]
        stored += [f"[{first},0,0,0,0,0,0,0]" for first in ('"a"', "[1]", "null", "9" * 400, "9" * 5_000)]
        stored.append(json.dumps([9e307] * DIMENSIONS))
        for index, literal in enumerate(stored):
            await library.chunk(odd, index, literal)
    assert await library.slugs() == ["good"]


@pytest.mark.parametrize(
    "vector", [[0.0] * DIMENSIONS, [1.0, 0.0], [math.nan] * DIMENSIONS, [math.inf] * DIMENSIONS]
)
async def test_a_query_that_cannot_be_compared_finds_nothing(library: Library, vector: list[float]) -> None:
    await library.article("a", towards(0.5))
    assert await library.search(vector) == []


async def test_ties_are_answered_the_same_every_time(library: Library) -> None:
    ids = [await library.article(f"twin{number}", towards(0.5)) for number in range(20)]
    assert [hit.article_id for hit in await library.search(limit=5)] == ids[:5]


async def test_an_empty_table_and_a_wrong_limit(library: Library) -> None:
    assert await library.search() == []
    with pytest.raises(ValueError, match="limit"):
        await library.search(limit=0)


@pytest.mark.pgvector
async def test_pgvector_outside_the_search_path(connection: Connection) -> None:
    library = Library(connection, "exact")
    await library.article("a", towards(0.5))
    await connection.execute('CREATE SCHEMA "Odd ""schema"; ALTER EXTENSION vector SET SCHEMA "Odd ""schema"')
    assert await library.slugs() == ["a"]
    await connection.execute(
        'CREATE INDEX near ON embeddings USING hnsw (vector "Odd ""schema".vector_cosine_ops)'
    )
    library.storage = "hnsw"
    assert await library.slugs() == ["a"]
    await connection.execute(
        'DROP INDEX near; ALTER TABLE embeddings ALTER vector TYPE "Odd ""schema".vector'
    )
    assert await library.slugs() == ["a"]


@pytest.mark.pgvector
async def test_an_index_is_asked_where_the_table_is_big(connection: Connection) -> None:
    await connection.execute("CREATE INDEX near ON embeddings USING hnsw (vector vector_cosine_ops)")
    library = Library(connection, "hnsw")
    for number in range(20):
        await library.article(f"a{number}", towards(0.5))
    uses = "SELECT pg_stat_get_xact_numscans('near'::regclass)"
    async with connection.transaction():
        await library.search(limit=2)
        assert await connection.fetchval(uses) == 1
        await search(connection, X, model=MODEL, limit=2, exact_below=20)
        assert await connection.fetchval(uses) == 1


async def test_works_inside_a_transaction_of_the_caller(library: Library) -> None:
    async with library.connection.transaction():
        await library.article("a", towards(0.5))
        assert await library.slugs() == ["a"]


async def test_a_database_that_was_not_migrated_is_named_as_such(connection: Connection) -> None:
    await connection.execute("ALTER TABLE embeddings DROP COLUMN model")
    with pytest.raises(SchemaError):
        await search(connection, X, model=MODEL)
    await connection.execute("DROP TABLE embeddings CASCADE")
    with pytest.raises(SchemaError):
        await search(connection, X, model=MODEL)


def pieces(markdown: str, size: int = 200) -> list[str]:
    """Cut at headings, then into so many words."""
    sections = [text.split() for text in re.split(r"(?m)^(?=#)", markdown)]
    return [" ".join(words[at : at + size]) for words in sections for at in range(0, len(words), size)]


@pytest.mark.pgvector
async def test_the_reference_corpus_answers_questions(connection: Connection) -> None:
    wordllama = pytest.importorskip("wordllama")
    model = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)

    def embed(texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = model.embed(texts, norm=True).tolist()
        return vectors

    await connection.execute("ALTER TABLE embeddings ALTER COLUMN vector TYPE vector(256)")
    library = Library(connection, "exact")
    async with connection.transaction():
        for draft in python_topics():
            texts = [f"{draft.title}\n{piece}" for piece in pieces(draft.content)]
            await library.article(draft.slug, *embed(texts))
    for question, answers in {
        "how do I catch an exception": {"python-try", "python-exceptions"},
        "what is a coroutine": {"python-async"},
        "how do I import a module": {"python-import"},
        "define a function with default arguments": {"python-function"},
        "format a number with two decimals": {"python-formatstrings"},
    }.items():
        found = {hit.slug for hit in await library.search(embed([question])[0], limit=3)}
        assert found & answers, question  # the texts are those of this Python, and differ


class TestSnippet:
    def test_a_short_text_is_one_line(self) -> None:
        assert snippet(" a\r\n\tb\x1b[31m\u2028c \0", "") == "a b [31m c"

    def test_shows_where_most_words_of_the_query_are(self) -> None:
        text = (
            "backup "
            + "filler words here " * 40
            + "restore a Backup of the database "
            + "more filler text " * 40
        )
        found = snippet(text, "how to restore the BACKUP?")
        assert "restore a Backup of the database" in found
        assert found.startswith("…")
        assert found.endswith("…")

    def test_short_words_count_only_among_themselves(self) -> None:
        text = "is it on me " + "filler words here " * 40 + "restore " + "more filler text " * 40
        assert "restore" in snippet(text, "is it on restore")
        assert "is it on" in snippet(f"{'filler words here ' * 40} {text}", "is it on")

    def test_begins_at_the_beginning_without_a_match(self) -> None:
        text = "alpha beta gamma " * 40
        for query in ("", "?!", "nothing"):
            assert snippet(text, query).startswith("alpha beta")

    @given(
        st.lists(st.text("abcdefgh", min_size=1, max_size=12), min_size=1)
        | st.lists(st.text("abcdefgh", min_size=1, max_size=12), min_size=60, max_size=90),
        st.lists(st.text("abcdefgh.*(", min_size=1, max_size=12), max_size=4),
    )
    def test_whole_words_of_the_text_in_the_width(self, words: list[str], asked: list[str]) -> None:
        found = snippet("\n".join(words), " ".join(asked))
        assert len(found) <= 160
        assert f" {found.strip('…')} " in f" {' '.join(words)} "
        assert found.startswith(("…", words[0]))
        assert found.endswith(("…", words[-1]))
        assert len(found) > 110 or len(found) == len(" ".join(words))

    @given(st.text(max_size=400), st.text(max_size=20))
    def test_never_too_long_and_never_two_lines(self, text: str, query: str) -> None:
        found = snippet(text, query)
        assert len(found) <= 160
        assert len(found.splitlines()) <= 1
        assert bool(found) == bool(re.sub(r"[\x00-\x1f\x7f-\x9f\s]", "", text))
