"""`embedq-tui verify`: check the stored counts and embeddings against the data."""

from __future__ import annotations

import click

from embedq_tui.commands.invocation import Invocation, operator, operator_command
from embedq_tui.commands.output import print_json, progress, say
from embedq_tui.workflows.backfilling import target_of
from embedq_tui.workflows.verifying import Verified, lines_of, prove
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import connected
from embedq_worker.errors import ExitCode
from embedq_worker.process.running import run


@click.command("verify", epilog="Example: embedq-tui verify --repair")
@click.option("--repair", is_flag=True, help="Set the stored counts to COUNT(*).")
@operator_command
def command(invocation: Invocation, repair: bool) -> ExitCode:
    """Check that the counts equal COUNT(*), and that every article has the embeddings of its current text.

    Also finds what another program's worker left behind: tasks completed without vectors, stale vectors,
    embeddings of articles marked no_rag. Reads whole tables. Exits 1 if anything is wrong.
    """
    settings = invocation.settings()
    verified = run(verify(settings, repair=repair))
    if invocation.as_json:
        print_json(verified)
    else:
        for line in lines_of(verified):
            say(line)
    return ExitCode.OK if verified.ok else ExitCode.NO


async def verify(settings: Settings, *, repair: bool) -> Verified:
    """Compare the stored counts and embeddings with the data.

    Args:
        settings: Where the database is, and the model to embed with.
        repair: Correct the counts.
    """
    target = await target_of(settings)
    async with connected(settings) as connection:
        with progress("Articles examined") as bar:
            by = operator() if repair else ""
            return await prove(connection, settings, target.model, repair_by=by, progress=bar.reached)
