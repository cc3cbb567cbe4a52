"""How a test database stores vectors: by pgvector, or as JSON as on a server that lacks it."""

from __future__ import annotations

from tests.support.databases import Connection


async def store_as_json(connection: Connection) -> None:
    """Make the database one without pgvector."""
    await connection.execute(
        """ALTER TABLE embeddings DROP COLUMN IF EXISTS vector,
                                  ADD COLUMN IF NOT EXISTS vector_data jsonb"""
    )


async def vector_column(connection: Connection) -> str:
    """The column of vectors: ``vector``, or ``vector_data`` where they are JSON."""
    as_json = await connection.fetchval(
        """SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'embeddings'::regclass
                          AND attname = 'vector_data' AND NOT attisdropped)"""
    )
    return "vector_data" if as_json else "vector"
