"""`embedq-tui concurrency`: let running workers work on more or fewer batches at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import click

from embedq_tui.invocation import Invocation, operator, operator_command
from embedq_tui.output import print_json, say
from embedq_tui.worker_commands import worker_named
from embedq_worker.database.connections import connected
from embedq_worker.insights.overview import WorkerRow, overview
from embedq_worker.queue import fleet
from embedq_worker.schema import migrations
from embedq_worker.settings import MOST_CONCURRENCY, Settings


@click.command("concurrency", epilog="Example: embedq-tui concurrency 8 --worker build-7/4711")
@click.argument("number", type=click.IntRange(1, MOST_CONCURRENCY), metavar="N")
@click.option("--worker", metavar="ID", help="This one only: its id, or HOST/PID as `status` shows it.")
@operator_command
def command(invocation: Invocation, number: int, worker: str | None) -> None:
    """Let running workers, or one of them, work on N batches at once, on any host and without a restart.

    It holds until the worker ends: one that is started later has its EMBEDDING_CONCURRENT_WORKERS. What is in
    hand is finished first where there are fewer.
    """
    told = asyncio.run(_set(invocation.settings(), number, worker))
    if invocation.as_json:
        workers = [
            {"id": each.id, "place": _place(each), "was": each.settings.get("concurrency")} for each in told
        ]
        print_json({"concurrency": number, "workers": workers})
        return
    if not told:
        say("No worker is running; EMBEDDING_CONCURRENT_WORKERS is what one starts with")
    for each in told:
        was = each.settings.get("concurrency", "an unknown number")
        say(f"{_place(each)} was told: {number} at once instead of {was}")


def _place(worker: WorkerRow) -> str:
    return f"{worker.host}/{worker.pid}"


async def _set(settings: Settings, number: int, name: str | None) -> Sequence[WorkerRow]:
    async with connected(settings) as connection:
        await migrations.require_current(connection)
        if name is None:
            wanted = (await overview(connection, settings)).workers
        else:
            wanted = (await worker_named(connection, settings, name),)
        by = operator()
        return [each for each in wanted if await fleet.set_concurrency(connection, each.id, number, by)]
