"""Why an action left out a task that was named."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from embedq_worker.actions.tasks import Action, Outcome, Plan
from embedq_worker.database.connections import Connection


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A task that was named but left out.

    Attributes:
        reason: ``unknown``, its status, ``superseded`` (by a later task of its article), ``already`` (there
            was nothing to change), ``changed`` (it no longer matches the filter), or ``busy`` (another
            session has locked it).
    """

    id: UUID
    reason: str

    @property
    def words(self) -> str:
        """The reason in words."""
        return _REASONS.get(self.reason, f"it is {self.reason}")


_REASONS = {
    "unknown": "there is no such task",
    "superseded": "a later task of its article supersedes it, and would be undone by it",
    "already": "there is nothing to change",
    "changed": "it has changed and no longer matches",
    "busy": "another session has locked it, try again",
}


async def left_out(connection: Connection, planned: Plan, outcome: Outcome) -> list[LeftOut]:
    """Find out why an action left out some of the tasks that were named, if any were.

    Args:
        connection: To the migrated database.
        planned: The plan of the action.
        outcome: The outcome of that plan.
    """
    done = set(outcome.ids)
    missed = [task for task in dict.fromkeys(planned.wanted.ids or ()) if task not in done]
    if not missed:
        return []
    branches = planned.selection.branches
    arguments = planned.selection.arguments if branches else ()
    meant = " OR ".join(f"({branch.where})" for branch in branches) or "false"
    rows = await connection.fetch(
        f"""SELECT t.id, t.status, {planned.action.also} AS fits, {meant} AS meant
            FROM embedding_tasks t WHERE t.id = ANY (${len(arguments) + 1}::uuid[])""",
        *arguments,
        missed,
    )
    found = {row["id"]: row for row in rows}
    return [LeftOut(task, _reason(found.get(task), planned.action)) for task in missed]


def _reason(row: asyncpg.Record | None, action: Action) -> str:
    if row is None:
        return "unknown"
    if row["status"] not in action.statuses:
        return str(row["status"])
    if not row["fits"]:
        return action.otherwise
    return "busy" if row["meant"] else "changed"
