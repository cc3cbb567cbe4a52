"""Why nothing was done to a task that was named."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from embedq_worker.actions.tasks import Action, Outcome, Plan
from embedq_worker.database.connections import Connection


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A task that was named and to which nothing was done.

    Attributes:
        reason: ``unknown``, the status it has, ``superseded`` (a later task of its article stands),
            ``already`` (it is as it was to be), ``changed`` (it does not fulfil the filter any more), or
            ``busy`` (somebody holds it this moment).
    """

    id: UUID
    reason: str

    @property
    def words(self) -> str:
        """The reason in words."""
        return _REASONS.get(self.reason, f"it is {self.reason}")


_REASONS = {
    "unknown": "there is no such task",
    "superseded": "a later task of its article stands, and this one would take away what that stored",
    "already": "it is so already",
    "changed": "it has changed, and is none of those that were meant",
    "busy": "somebody holds it this moment, try again",
}


async def left_out(connection: Connection, planned: Plan, outcome: Outcome) -> list[LeftOut]:
    """Why nothing was done to some of the tasks that were named.

    Args:
        connection: To the migrated database.
        planned: Names its tasks.
        outcome: Of that plan.
    """
    done = set(outcome.ids)
    missed = [task for task in dict.fromkeys(planned.wanted.ids or ()) if task not in done]
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
