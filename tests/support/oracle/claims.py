"""Check that every write of a worker was made under the claim in the row, and that claims were exclusive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from tests.support.databases import Connection
from tests.support.oracle.findings import Finding, Kind

Fence: TypeAlias = tuple[UUID | None, int | None, datetime | None]
"""Worker, token and time of a claim."""

_WORKERS = ("embedq-worker", "embedq-test")
_OURS = "embedq"
_WRITTEN = frozenset({"stored", "skipped", "removed", "gone", "changed", "requeued", "failed"})
_VECTORS = frozenset({"stored", "skipped", "removed"})

_LEGAL = frozenset(
    {
        ("pending", "processing"),
        ("processing", "completed"),
        ("processing", "pending"),
        ("processing", "failed"),
        ("pending", "completed"),  # with another of its article
        ("completed", None),  # by retention
    }
)
"""What a worker does to a task."""


@dataclass(frozen=True, slots=True)
class Move:
    """One change of a task; `held_was` and `held` are the claim in the row before and after."""

    place: int
    at: datetime
    txid: int
    application: str
    task: UUID
    article: int | None
    was: str | None
    now: str | None
    held_was: Fence
    held: Fence
    coalesced_into: str | None

    @property
    def by_worker(self) -> bool:
        """Whether a worker of ours made it."""
        return self.application.startswith(_WORKERS)

    @property
    def ours(self) -> bool:
        """Whether a program of ours made it: a worker, a command, the console."""
        return self.application.startswith(_OURS)

    @property
    def claims(self) -> bool:
        """Whether it is a claim of ours."""
        return self.by_worker and self.now == "processing" and self.was != "processing"


@dataclass(frozen=True, slots=True)
class Write:
    """A task that a worker asked to complete or return, and the claim it presented."""

    txid: int
    task: UUID
    held: Fence
    article: int | None
    outcome: str


async def moves(connection: Connection) -> list[Move]:
    """Every move that was witnessed, in order."""
    rows = await connection.fetch("SELECT * FROM witness_moves ORDER BY place")
    return [
        Move(
            row["place"],
            row["at"],
            row["txid"],
            row["application"],
            row["task_id"],
            row["article_id"],
            row["was"],
            row["now"],
            _fence(row["worker_was"], row["token_was"], row["claimed_was"], row["processed_was"]),
            _fence(row["worker"], row["token"], row["claimed_at"], row["processed_at"]),
            row["coalesced_into"],
        )
        for row in rows
    ]


def _fence(
    worker: UUID | None, token: int | None, claimed: datetime | None, processed: datetime | None
) -> Fence:
    """The claim is ours only while both timestamps are equal."""
    return (worker, token, claimed if claimed == processed else None)


def touched_by_others(history: Sequence[Move]) -> set[UUID]:
    """Tasks that another program changed after they were created."""
    return {move.task for move in history if move.was is not None and not move.ours}


async def wrong_claims(connection: Connection, history: Sequence[Move]) -> list[Finding]:
    """Find writes without the claim, and overlapping claims.

    Args:
        connection: To a database with a witness.
        history: Its moves.
    """
    rows = await connection.fetch("SELECT * FROM witness_writes")
    writes = [
        Write(
            row["txid"],
            row["task_id"],
            (row["worker"], row["token"], row["claimed_at"]),
            row["article_id"],
            row["outcome"],
        )
        for row in rows
    ]
    vectors = await connection.fetch(
        "SELECT DISTINCT txid, article_id, application FROM witness_vectors WHERE application LIKE 'embedq%'"
    )
    return [
        *_unheld_writes(history, writes),
        *_unasked_moves(history, writes),
        *_unasked_vectors(writes, [(row["txid"], row["article_id"]) for row in vectors]),
        *_shared_articles(history),
    ]


def _unheld_writes(history: Sequence[Move], writes: Sequence[Write]) -> Iterator[Finding]:
    """Writes that took effect although the row held another claim, or another had come between."""
    made = {(move.txid, move.task): move for move in history if move.was == "processing"}
    before: dict[int, Move] = {}
    last: dict[UUID, Move] = {}
    for move in history:
        if move.task in last:
            before[move.place] = last[move.task]
        last[move.task] = move
    for write in writes:
        if write.outcome not in _WRITTEN:
            continue
        found = made.get((write.txid, write.task))
        if found is None:
            yield Finding(Kind.INTRUDER, f"task {write.task}", f"{write.outcome}: nothing was processing")
        elif found.held_was != write.held:
            yield Finding(
                Kind.INTRUDER, f"task {write.task}", f"{write.held} over {found.held_was}: {write.outcome}"
            )
        else:
            claim = before.get(found.place)
            if claim is None or not claim.claims or claim.held != write.held:
                yield Finding(Kind.INTRUDER, f"task {write.task}", f"{write.outcome}: no claim came before")


def _unasked_moves(history: Sequence[Move], writes: Sequence[Write]) -> Iterator[Finding]:
    """Moves of workers that are illegal, and completions that no holder asked for."""
    asked = {(write.txid, write.task) for write in writes if write.outcome in _WRITTEN}
    for move in history:
        if not move.by_worker or move.was == move.now:
            continue
        step = f"{move.was} -> {move.now} by {move.application}"
        if (move.was, move.now) not in _LEGAL:
            yield Finding(Kind.HISTORY, f"task {move.task}", step)
        elif move.now == "completed" and (move.txid, move.task) not in asked:
            into = move.coalesced_into
            if move.was != "pending" or into is None or (move.txid, UUID(into)) not in asked:
                yield Finding(Kind.INTRUDER, f"task {move.task}", f"{step}, nobody asked for it")


def _unasked_vectors(writes: Sequence[Write], changed: Sequence[tuple[int, int]]) -> Iterator[Finding]:
    """Embeddings that a worker wrote without completing a task of their article in the same transaction."""
    asked = {(write.txid, write.article) for write in writes if write.outcome in _VECTORS}
    for txid, article in changed:
        if (txid, article) not in asked:
            yield Finding(Kind.INTRUDER, f"article {article}", f"embeddings written by transaction {txid}")


def _shared_articles(history: Sequence[Move]) -> Iterator[Finding]:
    """Articles of which two tasks were held by our workers at the same time."""
    in_hand: dict[int, dict[UUID, Fence]] = {}
    for move in history:
        if move.article is None:
            continue
        hands = in_hand.setdefault(move.article, {})
        hands.pop(move.task, None)
        if move.now == "processing" and move.held[2] is not None:
            if hands:
                yield Finding(Kind.TWICE, f"article {move.article}", f"{move.held} beside {hands}")
            hands[move.task] = move.held
