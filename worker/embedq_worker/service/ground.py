"""Preconditions of a worker: the schema, the privileges to store, and the column for vectors."""

from __future__ import annotations

from embedq_worker.database.connections import Connection
from embedq_worker.insights.doctor import require_storing
from embedq_worker.schema.state import require_current
from embedq_worker.schema.storage import VectorStorage, inspect_storage


async def require_ground(connection: Connection) -> VectorStorage:
    """Require everything without which the database would refuse every completion.

    Args:
        connection: As the role of the worker.

    Returns:
        How the database stores vectors.

    Raises:
        EmbedqError: Says what is missing, and what to do about it.
    """
    await require_current(connection)
    await require_storing(connection)
    return await inspect_storage(connection)
