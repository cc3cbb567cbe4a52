"""`embedq-tui probe`: probe a provider whose circuit breaker is open, right now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, Seconds, TextValue, operator, operator_command
from embedq_tui.commands.output import print_json, say
from embedq_tui.rendering.outcomes import probed_words
from embedq_worker.actions.probing import Probed, probe
from embedq_worker.database.connections import Connection
from embedq_worker.errors import ExitCode
from embedq_worker.schema.state import require_current

ANSWER_S = 30.0
"""Seconds a provider may take to embed one text."""


@click.command("probe", epilog="Example: embedq-tui probe")
@click.argument("provider", type=TextValue(), required=False)
@click.option(
    "--timeout",
    type=Seconds(min=0),
    metavar="SECONDS",
    default=ANSWER_S,
    show_default="30",
    help="How long to wait for the answer.",
)
@operator_command
def command(invocation: Invocation, provider: str | None, timeout: float) -> ExitCode:
    """Probe a provider whose circuit breaker is open, right now: after fixing its key, model or server.

    A worker that uses the provider sends the probe, on whatever host it runs. PROVIDER is a name as
    shown by `status`; by default, every provider whose circuit is not closed is probed. Exits 1 if any is
    still unavailable.
    """
    settings = invocation.settings()

    async def try_now(connection: Connection) -> list[Probed]:
        await require_current(connection)
        dead_s = settings.dead_after_s
        return await probe(connection, provider, operator(), dead_s=dead_s, within_s=timeout)

    probed = ask(settings, try_now)
    if invocation.as_json:
        print_json({"providers": probed})
    else:
        for line in _lines(probed):
            say(line)
    return ExitCode.NO if any(one.held for one in probed) else ExitCode.OK


def _lines(probed: Sequence[Probed]) -> Iterator[str]:
    if not probed:
        yield "Every provider is available; there is nothing to probe"
    for one in probed:
        yield probed_words(one)
        if one.advice:
            yield f"  {one.advice}"
