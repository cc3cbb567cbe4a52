"""An operator's actions on the tasks of a `World`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from embedq_worker.actions.tasks import Action, Outcome, Run, carry_out, plan
from embedq_worker.queue.wanted import TaskFilter
from tests.support.queue_world import World

BY = "ann@ops"


async def do(world: World, action: Action, wanted: TaskFilter, **values: Any) -> Outcome:
    """Plan and carry out."""
    planned = await plan(world.psql, action, wanted)
    return await carry_out(Run(world.psql, planned, BY, **values))


async def failed(world: World, number: int = 1, *, error: str = "boom", **values: Any) -> list[UUID]:
    """Tasks that failed, one minute apart, the last one just now."""
    tasks = [await world.task(await world.article(), **values) for _ in range(number)]
    await world.psql.execute(
        """UPDATE embedding_tasks t
           SET status = 'failed', attempts = 4, error_message = $2, crash_count = 1, processed_at = now(),
               completed_at = now() - ($3 - place) * interval '1 minute'
           FROM unnest($1::uuid[]) WITH ORDINALITY AS f(id, place) WHERE t.id = f.id""",
        tasks,
        error,
        number,
    )
    return tasks
