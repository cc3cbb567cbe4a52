"""`embedq-tui config`: every setting with its value, source and range."""

from __future__ import annotations

import click

from embedq_tui.commands.invocation import Invocation, operator_command
from embedq_tui.commands.output import Column, console, print_json, print_table, print_wrapped, say
from embedq_tui.profiles import Profile, load_profiles
from embedq_worker.configuration.loading import SettingRow

WIDE = 170
"""Terminal width, in columns, from which everything fits into one table."""


@click.command("config", epilog="Example: embedq-tui config --env-file /etc/embedq.env")
@operator_command
def command(invocation: Invocation) -> None:
    """List every setting with its value, its source and the accepted range.

    Passwords and keys are masked. Combinations that look like mistakes are listed at the end. An invalid
    value makes this and every other command fail with exit code 2.
    """
    profile = load_profiles().find(invocation.profile) if invocation.profile else Profile()
    settings = profile.settings(invocation.env_file)
    rows = profile.described(settings, invocation.env_file)
    warnings = settings.warnings()
    if invocation.as_json:
        print_json({"settings": rows, "warnings": warnings})
        return
    (_table if console().width >= WIDE else _list)(rows)
    for warning in warnings:
        say()
        say(f"Warning: {warning}")


def _table(rows: list[SettingRow]) -> None:
    columns = [
        Column("Setting"),
        Column("Value", wrap=True, least=12),
        Column("Source", wrap=True),
        Column("Accepts", wrap=True),
        Column("For", wrap=True),
    ]
    print_table(columns, [[row.name, row.told, _source(row), row.range, row.description] for row in rows])


def _list(rows: list[SettingRow]) -> None:
    """Two lines per setting: the names are too long for columns on a normal terminal."""
    for row in rows:
        print_wrapped(f"{row.name} = {row.told}")
        print_wrapped(f"    {_source(row)}; accepts {row.range}; {row.description}", quiet=True)


def _source(row: SettingRow) -> str:
    return "as named" if row.source == row.name else row.source
