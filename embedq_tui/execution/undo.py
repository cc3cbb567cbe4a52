"""Undoes actions on tasks from the console: counts, asks, runs with progress, reports."""

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
from embedq_tui.rendering.words import count
from embedq_worker.actions.undo import Undoable, Undone, undo, undoable
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.audit import AuditRow
from embedq_worker.schema.state import require_current
from embedq_worker.text import printable_line

REMEMBERED = 20
"""Number of operations that can be undone, one after the other."""


@dataclass(frozen=True, slots=True)
class UndoableOperation:
    """An operation that can be undone.

    Attributes:
        id: Its id in the audit log.
        words: What was done: ``12 tasks cancelled``.
    """

    id: UUID
    words: str


def operation_of(row: AuditRow) -> UndoableOperation | None:
    """The undoable operation that an audit row reports; whether it still can be undone is checked later."""
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
    """The undoable operations of this session. Call its coroutines in Textual workers.

    Attributes:
        dialogs: The dialogs of the database.
        link: The connection to it.
        by: The operator as ``user@host``.
    """

    dialogs: Dialogs
    link: Link
    by: str
    _operations: deque[UndoableOperation] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    @property
    def last(self) -> UndoableOperation | None:
        """What `undo_last` would undo."""
        return self._operations[-1] if self._operations else None

    def remember(self, operation: UndoableOperation) -> None:
        """Remember an operation as the next to be undone."""
        self._operations.append(operation)

    async def undo_last(self) -> Undone | None:
        """Undo the last undoable operation of this session, after confirmation."""
        if self.last is None:
            message = "Nothing to undo: only cancellations and priority changes of this session can be undone"
            self.dialogs.notify(message)
            return None
        return await self.undo(self.last)

    async def undo(self, operation: UndoableOperation) -> Undone | None:
        """Undo an operation, after confirmation.

        Args:
            operation: From this session or from the audit log.

        Returns:
            The outcome; None if it was not begun, or did not finish.
        """
        if self.dialogs.refused():
            return None
        undone = None
        with self.dialogs.telling("Not undone"):
            counting = Progress("Counting tasks", stop="Cancel")
            found = await self.dialogs.watch(counting, lambda: self._count(operation))
            if not found.open:
                self._forget(operation)
                message = f"{operation.words}: cannot be undone, all of them were changed or superseded since"
                self.dialogs.notify(message, bad=True)
            elif await self.dialogs.confirm(_confirmation(operation, found)) is Decision.YES:
                undone = await self._perform(operation, found)
        return undone

    async def _count(self, operation: UndoableOperation) -> Undoable:
        async with self.link.connection() as connection:
            await require_current(connection)
            return await undoable(connection, operation.id)

    async def _perform(self, operation: UndoableOperation, found: Undoable) -> Undone | None:
        progress = Progress(f"Undo: {operation.words}", found.open)
        try:
            undone = await self.dialogs.watch(progress, lambda: self._run(operation, progress))
        except EmbedqError as error:
            done = f"{progress.done:,} of {count(found.open, 'task')} restored"
            await self.dialogs.tell(broken(error, done, ["Undo again to continue with the rest."]))
            return None
        self._forget(operation)
        kept = f"; {undone.kept:,} left alone: changed or superseded since" if undone.kept else ""
        message = f"{count(undone.changed, 'task')} restored{kept}\noperation {undone.operation_id}"
        self.dialogs.notify(message)
        return undone

    async def _run(self, operation: UndoableOperation, progress: Progress) -> Undone:
        def report(so_far: Undone) -> None:
            progress.reached(so_far.changed)

        async with self.link.connection() as connection:
            return await undo(connection, operation.id, self.by, progress=report)

    def _forget(self, operation: UndoableOperation) -> None:
        with suppress(ValueError):
            self._operations.remove(operation)


def _confirmation(operation: UndoableOperation, found: Undoable) -> Confirmation:
    lines = [f"This operation: {operation.words}", "The tasks go back to what they were before."]
    if found.touched:
        lines.append(f"{count(found.touched, 'task')} changed or superseded since: will be left alone.")
    return Confirmation(f"Undo this for {count(found.open, 'task')}?", lines, f"Undo {found.open:,}")
