"""`embedq-tui check`: test the database and the provider the way a worker uses them."""

from __future__ import annotations

import click

from embedq_tui.commands.asking import patiently
from embedq_tui.commands.invocation import Invocation, operator_command
from embedq_tui.commands.output import print_json, say_wrapped
from embedq_tui.workflows.checking import check_all
from embedq_worker.configuration.settings import Settings
from embedq_worker.errors import ExitCode
from embedq_worker.insights.doctor import Check, Verdict
from embedq_worker.process.running import run

_WORDS = {Verdict.OK: "ok  ", Verdict.WARN: "warn", Verdict.FAIL: "FAIL"}


@click.command("check", epilog="Example: embedq-tui check && embedq-worker")
@operator_command
def command(invocation: Invocation) -> ExitCode:
    """Test the database and the provider the way a worker uses them.

    Checks the settings, the server, the schema, the role's privileges, the vector column and LISTEN, and has
    the provider embed one text. Exits 0 if a worker could run, 3 if the database or the provider cannot be
    reached, 1 if something else is wrong.
    """
    settings = invocation.settings()
    checks, code = run(patiently(_examine(settings)))
    if invocation.as_json:
        print_json({"ok": code is ExitCode.OK, "database": settings.place, "checks": checks})
        return code
    for check in checks:
        _report(check)
    return code


async def _examine(settings: Settings) -> tuple[list[Check], ExitCode]:
    checks: list[Check] = []
    code = await check_all(settings, checks.append)
    return sorted(checks, key=lambda check: check.name == "provider"), code


def _report(check: Check) -> None:
    say_wrapped(f"{_WORDS[check.verdict]}  {check.name:<9} {check.message}", 16)
    if check.advice:
        say_wrapped(f"{'':<16}{check.advice}", 16)
