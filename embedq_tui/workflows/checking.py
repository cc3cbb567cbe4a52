"""Checking what a worker depends on: settings, database, provider. Verdicts are reported as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import connected
from embedq_worker.errors import EmbedqError, ExitCode
from embedq_worker.insights.doctor import Check, Verdict, examine
from embedq_worker.providers.base import ProviderError
from embedq_worker.providers.factory import open_provider

ReportCheck = Callable[[Check], None]


async def check_all(settings: Settings, report: ReportCheck) -> ExitCode:
    """Run every check, database and provider at the same time.

    Args:
        settings: What a worker would run with.
        report: Called with each verdict as it comes.

    Returns:
        OK if a worker could run, UNREACHABLE if database or provider cannot be reached, else NO.
    """
    verdicts: list[Verdict] = []

    def note(check: Check) -> None:
        verdicts.append(check.verdict)
        report(check)

    note(check_settings(settings))
    reached, answered = await asyncio.gather(check_database(settings, note), check_provider(settings, note))
    if not (reached and answered):
        return ExitCode.UNREACHABLE
    return ExitCode.NO if Verdict.FAIL in verdicts else ExitCode.OK


def check_settings(settings: Settings) -> Check:
    """Check the settings for suspicious combinations."""
    warnings = settings.warnings()
    if warnings:
        return Check(
            "settings", Verdict.WARN, "; ".join(warnings), "to list every setting: embedq-tui config"
        )
    return Check("settings", Verdict.OK, "no problems found")


async def check_database(settings: Settings, report: ReportCheck) -> bool:
    """Check the database.

    Returns:
        Whether it was reached at all.
    """
    try:
        async with connected(settings) as connection:
            report(Check("database", Verdict.OK, f"{settings.place} answers"))
            async for check in examine(connection, settings):
                report(check)
            return True
    except EmbedqError as error:
        report(Check("database", Verdict.FAIL, error.message, error.advice))
        return error.exit_code is not ExitCode.UNREACHABLE


async def check_provider(settings: Settings, report: ReportCheck) -> bool:
    """Have the provider embed one text.

    Returns:
        Whether it was reached at all.
    """
    try:
        provider = await asyncio.to_thread(open_provider, settings)  # its library is slow to import
        try:
            answer = await provider.check()
        finally:
            await provider.aclose()
    except ProviderError as error:
        report(Check("provider", Verdict.FAIL, error.message, error.advice))
        return error.exit_code is not ExitCode.UNREACHABLE
    text = f"{answer.model}: {answer.dimensions} dimensions, {answer.seconds * 1000:.0f} ms"
    report(Check("provider", Verdict.OK, f"{text} ({answer.detail})"))
    return True
