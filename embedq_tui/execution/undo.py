"""Takes back what was done to tasks at the console: counts, asks, runs with progress, reports."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from embedq_tui.dialogs.confirm import Confirmation, Decision
from embedq_tui.dialogs.outcome import broken
from embedq_tui.dialogs.running import Progress
from embedq_tui.dialogs.service import Dialogs
from embedq_tui.live.link import Link
from embedq_tui.output import count
from embedq_worker.actions.undo import Undoable, Undone, undo, undoable
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.audit import AuditRow
from embedq_worker.schema import migrations
from embedq_worker.text import printable_line

REMEMBERED = 20
"""Operations that can be taken back one after the other."""


@dataclass(frozen=True, slots=True)
class UndoableOperation:
    """What one request did, and can be taken back.

    Attributes:
        id: In the audit log.
        words: What was done: ``12 tasks cancelled``.
    """

    id: UUID
    words: str


def operation_of(row: AuditRow) -> UndoableOperation | None:
    """What a row of the audit log tells that can be taken back; whether it still can is asked then."""
    action, number = row.event.metadata.get("action"), row.event.metadata.get("count")
    try:
        operation = UUID(row.operation_id or "")
    except ValueError:
        return None
    if action == "cancel":
        words = "cancelled"
    elif isinstance(action, str) and action.startswith("priority "):
        words = f"given {printable_line(action, 20)}"
    else:
        return None
    tasks = count(number, "task") if isinstance(number, int) else "tasks"
    return UndoableOperation(operation, f"{tasks} {words}")


@dataclass(slots=True)
class UndoHistory:
    """What was done in this session and can be taken back. Its coroutines are called in workers of Textual.

    Attributes:
        dialogs: Of the database.
        link: To it.
        by: Operator as ``user@host``.
    """

    dialogs: Dialogs
    link: Link
    by: str
    _operations: deque[UndoableOperation] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    @property
    def last(self) -> UndoableOperation | None:
        """What `undo_last` would take back."""
        return self._operations[-1] if self._operations else None

    def remember(self, operation: UndoableOperation) -> None:
        """It was done: it is the next to be taken back."""
        self._operations.append(operation)

    async def undo_last(self) -> Undone | None:
        """Take back the last thing of this session that can be taken back, after a question."""
        if self.last is None:
            told = "There is nothing to undo: cancelled tasks and priorities of this session can be"
            self.dialogs.notify(told)
            return None
        return await self.undo(self.last)

    async def undo(self, operation: UndoableOperation) -> Undone | None:
        """Take back an operation, after a question.

        Args:
            operation: Also one that was found in the audit log.

        Returns:
            What came of it; None where it was not begun, or did not come to its end.
        """
        if self.dialogs.refused():
            return None
        undone = None
        with self.dialogs.telling("Not undone"):
            counting = Progress("Counting the tasks", stop="Leave it")
            found = await self.dialogs.watch(counting, lambda _: self._count(operation))
            if not found.open:
                self._forget(operation)
                told = f"{operation.words}: something has happened to all of them since"
                self.dialogs.notify(told, bad=True)
            elif await self.dialogs.confirm(_confirmation(operation, found)) is Decision.YES:
                undone = await self._perform(operation, found)
        return undone

    async def _count(self, operation: UndoableOperation) -> Undoable:
        async with self.link.connection() as connection:
            await migrations.require_current(connection)
            return await undoable(connection, operation.id)

    async def _perform(self, operation: UndoableOperation, found: Undoable) -> Undone | None:
        progress = Progress(f"Undo: {operation.words}", found.open)
        try:
            undone = await self.dialogs.watch(progress, lambda progress: self._run(operation, progress))
        except EmbedqError as error:
            done = f"{progress.done:,} of {count(found.open, 'task')} taken back"
            await self.dialogs.tell(broken(error, done, ["Undo it again to go on with the rest."]))
            return None
        self._forget(operation)
        kept = f"; to {undone.kept:,} something has happened since" if undone.kept else ""
        told = f"{count(undone.changed, 'task')} taken back{kept}\noperation {undone.operation_id}"
        self.dialogs.notify(told)
        return undone

    async def _run(self, operation: UndoableOperation, progress: Progress) -> Undone:
        def told(so_far: Undone) -> None:
            progress.reached(so_far.changed)

        async with self.link.connection() as connection:
            return await undo(connection, operation.id, self.by, progress=told)

    def _forget(self, operation: UndoableOperation) -> None:
        with suppress(ValueError):
            self._operations.remove(operation)


def _confirmation(operation: UndoableOperation, found: Undoable) -> Confirmation:
    lines = [f"Of this operation: {operation.words}", "They will be as they were before."]
    if found.touched:
        lines.append(f"To {count(found.touched, 'task')} something has happened since: left alone.")
    return Confirmation(f"Take back {count(found.open, 'task')}?", lines, f"Take back {found.open:,}")
