"""`embedq-tui stop`: shut down the workers, on any host."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import click

from embedq_tui.invocation import Invocation, Seconds, operator, operator_command
from embedq_tui.names import Name, worker_named, worker_option
from embedq_tui.output import SoFar, count, print_json, progress, say
from embedq_worker.actions.tasks import RELEASE, Run, carry_out, plan
from embedq_worker.database.connections import Connection, connected
from embedq_worker.errors import EmbedqError, ExitCode
from embedq_worker.queue import fleet
from embedq_worker.queue.fleet import AskedWorker, Order
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.schema.state import require_current
from embedq_worker.settings import Settings

FORCED_S = 10.0
"""Seconds a forced worker gets to react, on top of the time the order takes to reach it."""

LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Stopped:
    """The outcome of a stop.

    Attributes:
        workers: Those that were asked to shut down.
        taken_back: Number of tasks released into the queue.
    """

    workers: Sequence[AskedWorker]
    taken_back: int

    @property
    def left(self) -> int:
        """Number of workers that have not ended."""
        return sum(not worker.ended for worker in self.workers)


@click.command("stop", epilog="Example: embedq-tui stop --force")
@worker_option
@click.option("--force", is_flag=True, help="Do not wait: release the tasks they hold, responsive or not.")
@click.option(
    "--timeout",
    type=Seconds(min=0),
    metavar="SECONDS",
    help="How long to wait for them.  [default: their grace time (forced: 10) plus one heartbeat]",
)
@operator_command
def command(invocation: Invocation, worker: Name | None, force: bool, timeout: float | None) -> ExitCode:
    """Shut down the workers, on any host: they finish the tasks they hold, claim no more, and exit.

    The order stays in force until `embedq-tui start`: a worker started meanwhile stays idle. Exits 1 if a
    worker has not ended in time. With --force, all held tasks (other programs' too) become pending at once,
    late writes are rejected, and unresponsive workers are declared dead.

    With --worker only that worker ends: the others carry on, and workers started later run normally.
    """
    settings = invocation.settings()
    if timeout is None:
        timeout = (FORCED_S if force else settings.shutdown_grace_ms / 1000) + settings.beat_every_s
    ordered = SoFar(False)
    try:
        stopped = asyncio.run(_stop(settings, worker, ordered, force=force, timeout_s=timeout))
    except (KeyboardInterrupt, EmbedqError):
        if ordered.value:  # giving up the wait does not withdraw the order
            say(
                f"The stop remains in force{'' if worker else ' until you run: embedq-tui start'}", error=True
            )
        raise
    if invocation.as_json:
        print_json(
            {
                "forced": force,
                "workers": stopped.workers,
                "left": stopped.left,
                "taken_back": stopped.taken_back,
            }
        )
    else:
        _report(stopped, one=worker is not None)
        if worker is None:
            say("No worker claims tasks until you run: embedq-tui start")
    return ExitCode.NO if stopped.left else ExitCode.OK


async def _stop(
    settings: Settings, name: Name | None, ordered: SoFar[bool], *, force: bool, timeout_s: float
) -> Stopped:
    async with connected(settings) as connection:
        await require_current(connection)
        if name is None:
            held = TaskFilter()
            asked = await fleet.command(connection, Order.STOP_NOW if force else Order.STOP, operator())
        else:
            worker = await worker_named(connection, settings, name)
            held = TaskFilter(worker=worker.id)
            await fleet.stop_worker(connection, worker.id, force=force, by=operator())
            asked = [worker.id]
        ordered.value = True
        taken = await _take_back(connection, held) if force else 0
        workers = await _wait(connection, settings, asked, timeout_s)
        left = [worker.id for worker in workers if not worker.ended]
        if force:
            if left:
                await fleet.declare_dead(connection, left, "did not answer a forced stop")
                workers = await fleet.asked_workers(connection, asked, dead_s=settings.dead_after_s)
            taken += await _take_back(connection, held)  # tasks that were being claimed when the order came
    return Stopped(workers, taken)


async def _take_back(connection: Connection, held: TaskFilter) -> int:
    planned = await plan(connection, RELEASE, held)
    with progress("Tasks released", planned.matched) as reached:
        return (await carry_out(Run(connection, planned, operator(), progress=reached))).changed


async def _wait(
    connection: Connection, settings: Settings, asked: Sequence[UUID], timeout_s: float
) -> list[AskedWorker]:
    """Wait for the workers to end; those without a heartbeat are not waited for."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    with progress("Workers ended", len(asked)) as reached:
        while True:
            workers = await fleet.asked_workers(connection, asked, dead_s=settings.dead_after_s)
            reached(sum(worker.ended for worker in workers))
            if all(worker.ended or worker.silent for worker in workers) or loop.time() >= deadline:
                return workers
            await asyncio.sleep(LOOK_EVERY_S)


def _report(stopped: Stopped, *, one: bool) -> None:
    if not stopped.workers:
        say("Stopped; no worker was running.")
    for worker in stopped.workers:
        if worker.state == "stopped":
            say(f"{worker.place} ended")
        elif worker.ended:
            say(f"{worker.place} did not respond and was declared dead")
        else:
            why = "has no heartbeat" if worker.silent else "is still running"
            say(f"{worker.place} {why} and holds {count(worker.in_hand, 'task')}")
    if stopped.taken_back:
        say(f"{count(stopped.taken_back, 'task')} returned to the queue")
    if stopped.left:
        whom = f" --worker {stopped.workers[0].place}" if one else ""
        say(
            f"{'It exits once its' if one else 'They exit once their'} tasks are finished; "
            f"at once: embedq-tui stop{whom} --force",
            error=True,
        )
