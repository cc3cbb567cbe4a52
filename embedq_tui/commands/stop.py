"""`embedq-tui stop`: shut down the workers, on any host."""

from __future__ import annotations

import click

from embedq_tui.commands.invocation import Invocation, Seconds, operator, operator_command
from embedq_tui.commands.output import SoFar, print_json, progress, say
from embedq_tui.commands.selecting import worker_option
from embedq_tui.filters.names import Name, worker_named
from embedq_tui.rendering.words import count
from embedq_tui.workflows.stopping import FORCED_S, Ended, free, wait_for
from embedq_worker.actions import orders
from embedq_worker.actions.orders import Order
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import connected
from embedq_worker.errors import EmbedqError, ExitCode, Unreachable
from embedq_worker.process.running import run
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.schema.state import require_current


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
    stands = SoFar("")
    try:
        stopped = run(_stop(settings, worker, stands, force=force, timeout_s=timeout))
    except (KeyboardInterrupt, EmbedqError) as error:
        refused = not isinstance(error, KeyboardInterrupt | Unreachable) and stands.value != "remains"
        if stands.value and not refused:  # giving up the wait does not withdraw the order
            until = "" if worker else " until you run: embedq-tui start"
            say(f"The stop {stands.value} in force{until}", error=True)
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
    settings: Settings, name: Name | None, stands: SoFar[str], *, force: bool, timeout_s: float
) -> Ended:
    async with connected(settings) as connection:
        await require_current(connection)
        worker = None if name is None else await worker_named(connection, settings, name)
        stands.value = "may be"  # interrupted from here on, the order may have reached the database
        if worker is None:
            held = TaskFilter()
            asked = await orders.command(connection, Order.STOP_NOW if force else Order.STOP, operator())
        else:
            held = TaskFilter(worker=worker.id)
            await orders.stop_worker(connection, worker.id, force=force, by=operator())
            asked = [worker.id]
        stands.value = "remains"
        with progress("Workers ended", len(asked)) as bar:
            if not force:
                return await wait_for(connection, settings, asked, timeout_s, bar.reached)
            return await free(
                connection, settings, asked, held, by=operator(), timeout_s=timeout_s, reached=bar.reached
            )


def _report(stopped: Ended, *, one: bool) -> None:
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
