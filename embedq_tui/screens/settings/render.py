"""Settings, verdicts and migrations as lines and table rows."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.text import Text

from embedq_tui.live.session import Session
from embedq_tui.rendering.keys import key
from embedq_tui.rendering.lines import labelled
from embedq_tui.rendering.styles import BAD, DOUBTFUL, GOOD, HEAD, NAME, QUIET
from embedq_tui.rendering.words import moment
from embedq_tui.versions import PACKAGES, version_of
from embedq_tui.widgets.rows import Column, Row
from embedq_worker import __version__
from embedq_worker.configuration.loading import SettingRow
from embedq_worker.insights.doctor import Check, Verdict
from embedq_worker.schema.state import MigrationState
from embedq_worker.text import printable_line

SETTINGS = (
    Column("name", "Setting", 42),
    Column("value", "Value", 0),
    Column("source", "Source", 28, hidden_below=110),
    Column("range", "Accepts", 28, hidden_below=140),
    Column("description", "For", 0, hidden_below=170),
)
MIGRATIONS = (
    Column("version", "Version", 7),
    Column("name", "Name", 28),
    Column("state", "State", 9),
    Column("applied", "Applied", 0),
    Column("by", "By", 16, hidden_below=100),
    Column("program", "With", 10, hidden_below=110),
    Column("seconds", "Took", 8, hidden_below=90, right=True),
)
DEFAULT = "default"

_VERDICTS = {Verdict.OK: ("ok  ", GOOD), Verdict.WARN: ("warn", DOUBTFUL), Verdict.FAIL: ("FAIL", BAD)}
_STATES = {"applied": GOOD, "pending": DOUBTFUL, "changed": BAD, "unknown": BAD}


def setting_row(row: SettingRow) -> Row:
    """A setting as a table row; values that are not defaults stand out."""
    style = QUIET if row.source == DEFAULT else ""
    cells = (
        Text(row.name, style or NAME),
        Text(printable_line(row.told, 300), style or HEAD),
        Text(printable_line(source_of(row), 60), style),
        Text(row.range, style),
        Text(row.description, style),
    )
    return Row(row.name, cells)


def source_of(row: SettingRow) -> str:
    """The source of a value, in words."""
    return "environment" if row.source == row.name else row.source


def about(row: SettingRow) -> Iterator[Text]:
    """A setting in full."""
    yield Text.assemble((row.name, NAME), " = ", (printable_line(row.told), HEAD))
    yield Text(f"{row.description}; accepts {row.range}")
    spelled = f"; also spelled {', '.join(row.spellings[1:])}" if row.spellings[1:] else ""
    yield Text(printable_line(f"from {source_of(row)}{spelled}"), QUIET)


def database_lines(session: Session) -> Iterator[Text]:
    """The database, the role, and whether changes are allowed."""
    line = labelled("Database").append(printable_line(session.link.place), HEAD)
    found = session.store.access
    if found is None:
        yield line.append("  checking", QUIET)
        return
    line.append(f", PostgreSQL {printable_line(found.server_version)}")
    line.append(", a replica" if found.is_replica else "", DOUBTFUL)
    yield line
    line = labelled("Role").append(printable_line(found.user), HEAD)
    if why := session.read_only:
        line.append(f"  read-only: {printable_line(why)}", DOUBTFUL)
    else:
        line.append("  has the privileges an operator needs", GOOD)
    yield line


def versions_line() -> Text:
    """The versions in use."""
    names = [f"embedq {__version__}", *(f"{name} {version_of(name)}" for name in PACKAGES)]
    return labelled("Versions").append(", ".join([*names, f"Python {platform.python_version()}"]))


def schema_line(states: Sequence[MigrationState] | None) -> Text:
    """Whether the schema is up to date."""
    line = labelled("Schema")
    if states is None:
        return line.append("checking", QUIET)
    applied = sum(state.state == "applied" for state in states)
    missing = sum(state.state == "pending" for state in states)
    foreign = len(states) - applied - missing
    if not missing and not foreign:
        return line.append(f"up to date, {applied} migrations", GOOD)
    if missing:
        line.append(f"{missing} of {len(states)} migrations missing, {key('settings.migrate')}: migrate", BAD)
    if foreign:
        line.append(f"{'; ' if missing else ''}{foreign} from another version of embedq", BAD)
    return line


def check_lines(check: Check) -> Iterator[tuple[str, str]]:
    """A verdict, with its advice."""
    word, style = _VERDICTS[check.verdict]
    yield f"{word}  {check.name:<9} {printable_line(check.message)}", style
    if check.advice:
        yield f"      {'':<9} {printable_line(check.advice)}", QUIET


def migration_row(state: MigrationState, now: datetime) -> Row:
    """A migration as a table row."""
    cells = (
        Text(f"{state.version:03}"),
        Text(printable_line(state.name, 60)),
        Text("missing" if state.state == "pending" else state.state, _STATES[state.state]),
        Text(moment(state.applied_at, now) if state.applied_at else ""),
        Text(printable_line(state.applied_by, 40)),
        Text(printable_line(state.program, 20)),
        Text(f"{state.seconds:.1f} s" if state.seconds is not None else ""),
    )
    return Row(str(state.version), cells)
