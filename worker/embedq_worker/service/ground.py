"""What a worker stands on: the schema, the rights to store, and the column for vectors."""

from __future__ import annotations

from embedq_worker.database.connections import Connection
from embedq_worker.insights.doctor import require_storing
from embedq_worker.schema import migrations
from embedq_worker.schema.storage import VectorStorage, inspect_storage


async def require_ground(connection: Connection) -> VectorStorage:
    """Insist on that without which every completion would be refused, whatever the task.

    Args:
        connection: As the role of the worker.

    Returns:
        How the database keeps vectors.

    Raises:
        EmbedqError: What is lacking, and what to do about it.
    """
    await migrations.require_current(connection)
    await require_storing(connection)
    return await inspect_storage(connection)
