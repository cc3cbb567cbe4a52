"""How a database stores vectors: in embeddings.vector with pgvector, or as jsonb in vector_data."""

from __future__ import annotations

from dataclasses import dataclass

from embedq_worker.database.connections import Connection
from embedq_worker.errors import MIGRATE, SchemaError, SettingsError


@dataclass(frozen=True, slots=True)
class VectorStorage:
    """How this database stores vectors.

    Attributes:
        schema: Schema of pgvector, quoted; None if vectors are stored as jsonb.
        type_oid: OID of pgvector's type, which changes if the extension is dropped and created again; 0 for
            jsonb.
        dimensions: As declared for the column, or -1.
        indexed: Whether there is a vector index.
        chunks: Estimated number of rows; -1 or 0 if the table was never analyzed.
    """

    schema: str | None
    type_oid: int = 0
    dimensions: int = -1
    indexed: bool = False
    chunks: float = -1

    @property
    def array_type(self) -> str:
        """SQL type of the array of vectors that is passed to embedq_complete."""
        return "jsonb[]" if self.schema is None else f"{self.schema}.vector[]"

    def takes_the_same_as(self, other: VectorStorage) -> bool:
        """Whether both take vectors in the same format and of the same dimensions."""
        return (self.schema, self.type_oid, self.dimensions) == (
            other.schema,
            other.type_oid,
            other.dimensions,
        )

    def require(self, dimensions: int) -> None:
        """Make sure that vectors of these dimensions can be stored.

        Raises:
            SettingsError: The column is declared with other dimensions.
        """
        if self.dimensions not in (-1, dimensions):
            raise SettingsError(
                f"embeddings.vector is declared as vector({self.dimensions}), "
                f"but EMBEDDING_DIMENSIONS is {dimensions}",
                f"set EMBEDDING_DIMENSIONS={self.dimensions} and a model that fits, or alter the column",
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
    """Find out how the table `embeddings` stores vectors.

    Raises:
        SchemaError: The table is missing, lacks our columns or has no column for vectors.
    """
    columns = {row["name"]: row for row in await connection.fetch(_COLUMNS)}
    if "model" not in columns:
        raise SchemaError("the table embeddings is missing or not migrated", MIGRATE)
    vector = columns.get("vector")
    if vector and vector["type"] == "vector":
        return VectorStorage(
            vector["schema"], vector["type_oid"], vector["dimensions"], vector["indexed"], vector["chunks"]
        )
    if "vector_data" in columns:
        return VectorStorage(None)
    raise SchemaError("the table embeddings has neither a pgvector column vector nor a column vector_data")
