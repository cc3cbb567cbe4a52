"""Check that the embeddings of every article are exactly those of its current text and model."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Protocol

import asyncpg

from embedq_worker.configuration.settings import Settings
from embedq_worker.content import chunking
from embedq_worker.content.chunking import content_hash, embedding_input, split_markdown
from embedq_worker.providers.base import Vector
from embedq_worker.providers.factory import open_provider
from embedq_worker.queue.claims import chunk_id
from tests.support.databases import DIMENSIONS, Connection
from tests.support.oracle.findings import Finding, Kind
from tests.support.provider_stub import stub_vector
from tests.support.vector_storage import vector_column

_ARTICLES = """
SELECT a.id, a.title, a.slug, a.content, a.no_rag, embedq_source(a.title, a.slug, a.content) AS source,
       s.source AS noted, s.chunks, s.model AS noted_model
FROM articles a LEFT JOIN embedq_articles s ON s.article_id = a.id ORDER BY a.id
"""


class Embedding(Protocol):
    """Source of the vectors of a run, which can recompute them."""

    @property
    def model(self) -> str:
        """As it is stored with each vector."""
        ...

    @property
    def tolerance(self) -> float:
        """How far a component may be from what it was."""
        ...

    async def vectors(self, texts: Sequence[str]) -> list[Vector]:
        """Vectors of texts, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class StubEmbedding:
    """The provider stub, asked by way of the OpenAI protocol."""

    model: str = "openai/stub"
    dimensions: int = DIMENSIONS
    tolerance: float = 0.0

    async def vectors(self, texts: Sequence[str]) -> list[Vector]:
        """Exactly what it answers."""
        return [stub_vector(text, self.dimensions) for text in texts]


@dataclass(frozen=True, slots=True)
class LocalEmbedding:
    """The local model: rounding differs slightly with the other texts of a batch."""

    model: str = "local/l2_supercat"
    dimensions: int = 256
    tolerance: float = 1e-5

    async def vectors(self, texts: Sequence[str]) -> list[Vector]:
        """What the provider of the worker computes."""
        provider = open_provider(
            Settings(_env_file=None, provider="local", dimensions_wanted=self.dimensions)
        )
        try:
            return await provider.embed(texts) if texts else []
        finally:
            await provider.aclose()


@dataclass(frozen=True, slots=True)
class Chunk:
    """One row of `embeddings`, expected or stored."""

    chunk_id: str
    heading: tuple[str, ...]
    text: str
    hash: str
    model: str
    vector: Vector


Chunks = dict[int, Chunk]
"""Of an article, by chunk_index."""


async def wrong_vectors(
    connection: Connection, embedding: Embedding, *, size: int = 500, overlap: int = 50
) -> list[Finding]:
    """Find what is wrong with the embeddings of the articles.

    Args:
        connection: To the database.
        embedding: Who computed them.
        size: CHUNK_SIZE of the workers.
        overlap: CHUNK_OVERLAP of the workers.
    """
    stored = await _stored(connection)
    articles = await connection.fetch(_ARTICLES)
    planned = [list(_planned(row, size, overlap)) for row in articles]
    texts = list(dict.fromkeys(text for plan in planned for _, text in plan))
    vectors = dict(zip(texts, await embedding.vectors(texts), strict=True))
    findings: list[Finding] = []
    for row, plan in zip(articles, planned, strict=True):
        wanted = {
            cut.index: Chunk(
                chunk_id(row["slug"], cut.index),
                cut.heading_path,
                cut.text,
                content_hash(text),
                embedding.model,
                vectors[text],
            )
            for cut, text in plan
        }
        subject = f"article {row['id']}"
        found = list(_compare(subject, wanted, stored.pop(row["id"], {}), embedding.tolerance))
        noted = (row["noted"], row["chunks"], row["noted_model"])
        if not found and wanted and noted != (row["source"], len(wanted), embedding.model):
            found = [Finding(Kind.STALE, subject, f"embedq_articles says {noted}")]
        findings += found
    return findings


def _planned(row: asyncpg.Record, size: int, overlap: int) -> Iterator[tuple[chunking.Chunk, str]]:
    """Chunks of an article, and what is embedded for each."""
    if not row["no_rag"]:
        for cut in split_markdown(row["content"] or "", size=size, overlap=overlap):
            yield cut, embedding_input(row["title"] or "", cut)


def _compare(subject: str, wanted: Chunks, stored: Chunks, tolerance: float) -> Iterator[Finding]:
    if lacking := sorted(wanted.keys() - stored.keys()):
        yield Finding(Kind.MISSING, subject, f"chunks {lacking} of {len(wanted)}")
    if surplus := sorted(stored.keys() - wanted.keys()):
        yield Finding(Kind.SURPLUS, subject, f"chunks {surplus}, {len(wanted)} are right")
    for index in sorted(wanted.keys() & stored.keys()):
        right, there = wanted[index], stored[index]
        place = f"chunk {index}"
        if there.model != right.model:
            yield Finding(Kind.MODEL, subject, f"{place} is by {there.model}")
        elif (there.text, there.hash) != (right.text, right.hash):
            yield Finding(Kind.STALE, subject, f"{place} is of {there.text[:60]!r}, not {right.text[:60]!r}")
        elif (there.chunk_id, there.heading) != (right.chunk_id, right.heading):
            yield Finding(Kind.STALE, subject, f"{place} is named {there.chunk_id!r}, {there.heading}")
        elif not _alike(there.vector, right.vector, tolerance):
            yield Finding(Kind.VECTOR, subject, f"{place} has {there.vector[:3]}.., not {right.vector[:3]}..")


def _alike(one: Vector, other: Vector, tolerance: float) -> bool:
    if len(one) != len(other) or tolerance == 0.0:
        return one == other
    return all(isclose(a, b, rel_tol=0.0, abs_tol=tolerance) for a, b in zip(one, other, strict=True))


async def _stored(connection: Connection) -> dict[int, Chunks]:
    column = await vector_column(connection)
    rows = await connection.fetch(
        f"""SELECT article_id, chunk_index, chunk_id, heading_path, text_content, content_hash, model,
                   {column}::text AS vector FROM embeddings"""
    )
    stored: dict[int, Chunks] = {}
    for row in rows:
        stored.setdefault(row["article_id"], {})[row["chunk_index"]] = Chunk(
            row["chunk_id"],
            tuple(row["heading_path"] or ()),
            row["text_content"] or "",
            row["content_hash"] or "",
            row["model"] or "",
            array("f", json.loads(row["vector"] or "[]")),  # as text it is rounded to float32's digits
        )
    return stored
