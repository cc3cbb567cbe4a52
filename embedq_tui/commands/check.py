"""`embedq-tui check`: try database and provider as a worker would use them."""

from __future__ import annotations

import asyncio

import click

from embedq_tui.invocation import Invocation, operator_command
from embedq_tui.output import print_json, say
from embedq_worker.database import connected, where
from embedq_worker.errors import EmbedqError, ExitCode
from embedq_worker.insights.doctor import Check, Verdict, examine
from embedq_worker.providers import open_provider
from embedq_worker.providers.base import ProviderError
from embedq_worker.settings import Settings

_WORDS = {Verdict.OK: "ok  ", Verdict.WARN: "warn", Verdict.FAIL: "FAIL"}


@click.command("check", epilog="Example: embedq-tui check && embedq-worker")
@operator_command
def command(invocation: Invocation) -> ExitCode:
    """Try database and provider as a worker would use them.

    Looks at the settings, the server, the schema, the rights of the role, the column for the vectors and
    LISTEN, and has the provider embed one text. Exits 0 when a worker could work, 3 when database or provider
    cannot be reached, 1 when they can but something is wrong.
    """
    settings = invocation.settings()
    checks, code = asyncio.run(_examine(settings))
    if invocation.as_json:
        print_json({"ok": code is ExitCode.OK, "database": where(settings), "checks": checks})
        return code
    for check in checks:
        _tell(check)
    return code


async def _examine(settings: Settings) -> tuple[list[Check], ExitCode]:
    (database, reached), (provider, answered) = await asyncio.gather(_database(settings), _provider(settings))
    checks = [_settings(settings), *database, provider]
    if not (reached and answered):
        return checks, ExitCode.UNREACHABLE
    failed = any(check.verdict is Verdict.FAIL for check in checks)
    return checks, ExitCode.NO if failed else ExitCode.OK


def _settings(settings: Settings) -> Check:
    warnings = settings.warnings()
    if warnings:
        return Check("settings", Verdict.WARN, "; ".join(warnings), "embedq-tui config lists every setting")
    return Check("settings", Verdict.OK, "the settings fit together")


async def _database(settings: Settings) -> tuple[list[Check], bool]:
    """What was found, and whether the database was reached at all."""
    try:
        async with connected(settings) as connection:
            reached = Check("database", Verdict.OK, f"{where(settings)} answers")
            return [reached, *await examine(connection, settings)], True
    except EmbedqError as error:
        check = Check("database", Verdict.FAIL, error.message, error.advice)
        return [check], error.exit_code is not ExitCode.UNREACHABLE


async def _provider(settings: Settings) -> tuple[Check, bool]:
    """What was found, and whether the provider was reached at all."""
    try:
        provider = open_provider(settings)
        try:
            report = await provider.check()
        finally:
            await provider.aclose()
    except ProviderError as error:
        check = Check("provider", Verdict.FAIL, error.message, error.advice)
        return check, error.exit_code is not ExitCode.UNREACHABLE
    text = f"{report.model} gives {report.dimensions} components in {report.seconds * 1000:.0f} ms"
    return Check("provider", Verdict.OK, f"{text} ({report.detail})"), True


def _tell(check: Check) -> None:
    say(f"{_WORDS[check.verdict]}  {check.name:<9} {check.message}")
    if check.advice:
        say(f"      {'':<9} {check.advice}")
