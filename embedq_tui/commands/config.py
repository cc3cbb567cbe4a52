"""`embedq-tui config`: every setting with value, source and range."""

from __future__ import annotations

import click

from embedq_tui.invocation import Invocation, operator_command
from embedq_tui.output import Column, console, print_json, print_table, say
from embedq_worker.configuration import SettingRow, describe_settings

DESCRIBED_FROM = 150
"""Columns of a terminal on which the descriptions have room too."""


@click.command("config", epilog="Example: embedq-tui config --env-file /etc/embedq.env")
@operator_command
def command(invocation: Invocation) -> None:
    """List every setting with its value, where it comes from and what is accepted.

    Passwords and keys are masked. Combinations that are probably not meant are told at the end; a value that
    cannot be used ends this and every other command with exit code 2.
    """
    settings = invocation.settings()
    rows = describe_settings(settings, invocation.env_file)
    warnings = settings.warnings()
    if invocation.as_json:
        print_json({"settings": rows, "warnings": warnings})
        return
    _table(rows)
    for warning in warnings:
        say()
        say(f"Warning: {warning}")


def _table(rows: list[SettingRow]) -> None:
    described = console().width >= DESCRIBED_FROM
    columns = [
        Column("Setting", wrap=True, least=22),
        Column("Value", wrap=True, least=12),
        Column("Source", wrap=True),
        Column("Accepts", wrap=True),
    ]
    if described:
        columns.append(Column("For", wrap=True))
    print_table(columns, [_row(row, described) for row in rows])


def _row(row: SettingRow, described: bool) -> list[str]:
    source = "as named" if row.source == row.name else row.source
    cells = [row.name, row.value, source, row.range]
    return [*cells, row.description] if described else cells
