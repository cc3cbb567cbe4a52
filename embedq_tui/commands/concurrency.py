"""`embedq-tui concurrency`: change how many batches running workers process at once."""

from __future__ import annotations

from collections.abc import Sequence

import click

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, Number, operator, operator_command
from embedq_tui.commands.output import print_json, say
from embedq_tui.commands.selecting import worker_option
from embedq_tui.filters.names import Name, worker_named
from embedq_worker.actions import orders
from embedq_worker.configuration.settings import MOST_CONCURRENCY, Settings
from embedq_worker.database.connections import Connection
from embedq_worker.insights.overview import WorkerRow, overview
from embedq_worker.schema.state import require_current


@click.command("concurrency", epilog="Example: embedq-tui concurrency 8 --worker build-7/4711")
@click.argument("number", type=Number(1, MOST_CONCURRENCY), metavar="N")
@worker_option
@operator_command
def command(invocation: Invocation, number: int, worker: Name | None) -> None:
    """Have running workers, or one of them, process N batches at once, on any host, without a restart.

    Lasts until the worker ends; workers started later use EMBEDDING_CONCURRENT_WORKERS. When the number is
    lowered, batches in progress are finished first.
    """
    settings = invocation.settings()
    changed = ask(settings, lambda connection: _set(connection, settings, number, worker))
    if invocation.as_json:
        workers = [
            {"id": each.id, "place": each.place, "was": each.settings.get("concurrency")} for each in changed
        ]
        print_json({"concurrency": number, "workers": workers})
        return
    if not changed:
        say("No worker is running. New workers start with EMBEDDING_CONCURRENT_WORKERS.")
    for each in changed:
        was = each.settings.get("concurrency", "unknown")
        say(f"{each.place}: concurrency set to {number} (was {was})")


async def _set(
    connection: Connection, settings: Settings, number: int, name: Name | None
) -> Sequence[WorkerRow]:
    await require_current(connection)
    if name is None:
        wanted = (await overview(connection, settings)).workers
    else:
        wanted = (await worker_named(connection, settings, name),)
    by = operator()
    return [each for each in wanted if await orders.set_concurrency(connection, each.id, number, by)]
