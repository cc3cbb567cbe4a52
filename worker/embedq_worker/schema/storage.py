"""How a database keeps vectors: as pgvector's type in embeddings.vector, or as jsonb in vector_data."""

from __future__ import annotations

from dataclasses import dataclass

from embedq_worker.database.connections import Connection
from embedq_worker.errors import SchemaError, SettingsError


@dataclass(frozen=True, slots=True)
class VectorStorage:
    """How this database keeps vectors.

    Attributes:
        schema: Where pgvector lives, quoted; None where vectors are jsonb.
        type_oid: Of pgvector's type: another one after the extension was dropped and made again. 0 for jsonb.
        dimensions: As declared, or -1.
        indexed: There is a vector index.
        chunks: Rows as last estimated, -1 or 0 where the table was never analyzed.
    """

    schema: str | None
    type_oid: int = 0
    dimensions: int = -1
    indexed: bool = False
    chunks: float = -1

    @property
    def array_type(self) -> str:
        """SQL type of a list of vectors as completion takes it."""
        return "jsonb[]" if self.schema is None else f"{self.schema}.vector[]"

    def takes_the_same_as(self, other: VectorStorage) -> bool:
        """Whether vectors are sent to both in the same way, and are as long."""
        return (self.schema, self.type_oid, self.dimensions) == (
            other.schema,
            other.type_oid,
            other.dimensions,
        )

    def require(self, dimensions: int) -> None:
        """Insist that vectors of this many components can be stored.

        Raises:
            SettingsError: The column is declared for another number.
        """
        if self.dimensions not in (-1, dimensions):
            raise SettingsError(
                f"embeddings.vector is declared as vector({self.dimensions}), "
                f"but EMBEDDING_DIMENSIONS is {dimensions}",
                f"set EMBEDDING_DIMENSIONS={self.dimensions} and a model to match, or alter the column",
            )


_COLUMNS = """
SELECT attname AS name, typname AS type, atttypid AS type_oid, atttypmod AS dimensions,
       quote_ident(nspname) AS schema,
       (SELECT reltuples FROM pg_class WHERE oid = attrelid) AS chunks,
       EXISTS (SELECT FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
               WHERE indrelid = attrelid AND indisvalid AND attnum = ANY (indkey)
                 AND amname IN ('hnsw', 'ivfflat')) AS indexed
FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid JOIN pg_namespace ON pg_namespace.oid = typnamespace
WHERE attrelid = to_regclass('embeddings') AND NOT attisdropped
  AND attname IN ('vector', 'vector_data', 'model')
"""


async def inspect_storage(connection: Connection) -> VectorStorage:
    """Look how the table `embeddings` is made.

    Raises:
        SchemaError: The table is missing, lacks our columns or has no column for vectors.
    """
    columns = {row["name"]: row for row in await connection.fetch(_COLUMNS)}
    if "model" not in columns:
        raise SchemaError(
            "table embeddings is missing or older than this version", "run: embedq-tui --migrate"
        )
    vector = columns.get("vector")
    if vector and vector["type"] == "vector":
        return VectorStorage(
            vector["schema"], vector["type_oid"], vector["dimensions"], vector["indexed"], vector["chunks"]
        )
    if "vector_data" in columns:
        return VectorStorage(None)
    raise SchemaError("table embeddings has neither a column vector of pgvector nor vector_data")
