"""Generate the table of docs/configuration.md: ``python -m tests.support.settings_table``."""

from __future__ import annotations

from embedq_worker.configuration.loading import SettingRow, describe_settings
from embedq_worker.configuration.settings import Settings


def table() -> str:
    """Every setting as a line of a Markdown table, with defaults as values."""
    rows = describe_settings(Settings.model_construct(_fields_set=set()))
    lines = ["| Variable | Default | Range | Meaning |", "|---|---|---|---|", *map(_line, rows)]
    return "\n".join(lines) + "\n"


def variables() -> set[str]:
    """Every spelling of every setting."""
    rows = describe_settings(Settings.model_construct(_fields_set=set()))
    return {name for row in rows for name in row.spellings}


def _line(row: SettingRow) -> str:
    names = ", ".join(f"`{name}`" for name in row.spellings)
    range_ = row.range.replace("|", "\\|")
    value = "" if row.value == "-" else f"`{row.value}`"
    return f"| {names} | {value} | {range_} | {row.description} |"


if __name__ == "__main__":
    print(table(), end="")
