"""The verdict: all checks of the oracle, in one snapshot."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext

from tests.support.databases import Connection
from tests.support.oracle.claims import moves, touched_by_others, wrong_claims
from tests.support.oracle.findings import Finding
from tests.support.oracle.history import wrong_histories
from tests.support.oracle.states import charged, impossible_states, undone, wrong_counts
from tests.support.oracle.vectors import Embedding, StubEmbedding, wrong_vectors
from tests.support.oracle.witness import has_witness


async def judge(
    connection: Connection,
    embedding: Embedding | None = None,
    *,
    drained: bool = True,
    blameless: bool = False,
    size: int = 500,
    overlap: int = 50,
) -> list[Finding]:
    """Report what is wrong with a database after a run; an empty list if all guarantees held.

    Args:
        connection: To the database.
        embedding: Source of the vectors; None for the stub.
        drained: No task may be pending or in progress, and every article must have its embeddings.
        blameless: No task was at fault: none may have been charged an attempt, or have failed.
        size: CHUNK_SIZE of the workers.
        overlap: CHUNK_OVERLAP of the workers.
    """
    async with _snapshot(connection):
        history = await moves(connection) if await has_witness(connection) else []
        touched = touched_by_others(history)
        findings = await wrong_counts(connection)
        findings += await impossible_states(connection, others=touched)
        findings += await wrong_histories(connection, others=touched)
        if history:
            findings += await wrong_claims(connection, history)
        if blameless:
            findings += await charged(connection, others=touched)
        if drained:
            findings += await undone(connection)
            findings += await wrong_vectors(
                connection, embedding or StubEmbedding(), size=size, overlap=overlap
            )
    return findings


def _snapshot(connection: Connection) -> AbstractAsyncContextManager[object]:
    """One for all questions, but where the caller has a transaction of his own."""
    if connection.is_in_transaction():
        return nullcontext()
    return connection.transaction(isolation="repeatable_read", readonly=True)
