"""Text for a terminal: what other programs wrote, without control sequences but in full; times; durations."""

from __future__ import annotations

import re
from datetime import UTC, datetime

# C0 except tab and line feed, DEL, C1 (which includes the one-character CSI), bidirectional marks, separators
# that some programs take for line ends, and lone surrogates, which cannot be encoded.
_COMMANDS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
# Characters without a glyph: two slugs that look alike would differ, and terminals disagree about the width.
_INVISIBLE = "\xad\u180e\u200b\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb"
_UNSAFE = re.compile(f"[{_COMMANDS}{_INVISIBLE}]")
# They belong to emoji and some scripts; next to ASCII they join nothing, and are invisible.
_JOINERS = "\u200c\u200d"
_STRAY_JOINER = re.compile(f"(?<![^\x00-\x7f])[{_JOINERS}]|[{_JOINERS}](?![^\x00-\x7f])")
_REPLACEMENT = "\ufffd"
_CUT = f" {_JOINERS}"
"""Not left at the end of what is cut."""


def printable(text: str) -> str:
    """Replace every character that could move the cursor, start an escape sequence, reverse text, or hide.

    What follows an escape character stays as plain text, so that nothing is hidden.

    Args:
        text: From the database, a provider, a file.

    Returns:
        Text of the same length; line feeds and tabs are kept, the CR of a CRLF is replaced.
    """
    shown = _UNSAFE.sub(_REPLACEMENT, text)
    if "\u200c" in shown or "\u200d" in shown:
        return _STRAY_JOINER.sub(_REPLACEMENT, shown)
    return shown


def printable_line(text: str, width: int | None = None) -> str:
    """The same on one line, with white space collapsed.

    Args:
        text: From the database, a provider, a file.
        width: Maximum number of characters; longer text ends in an ellipsis. None for no limit.
    """
    # Collapsed first, so that a CR at the end of a line counts as white space; so do some of the separators.
    line = printable(" ".join(text.split()))
    if width is None or len(line) <= width:
        return line
    return f"{line[: max(width - 1, 0)].rstrip(_CUT)}…"


def stamp(when: datetime, timespec: str = "auto") -> str:
    """A time as JSON and logs have it: ISO 8601 in UTC, with a Z.

    Args:
        when: With a zone.
        timespec: As for `datetime.isoformat`.
    """
    return when.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def age(seconds: float) -> str:
    """A duration in its two largest units: ``4 s``, ``12 min``, ``3 h 5 min``, ``2 d 4 h``."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if hours == 0:
        return f"{minutes} min"
    big, small, unit = (hours, minutes % 60, "h min") if days == 0 else (days, hours % 24, "d h")
    names = unit.split()
    return f"{big} {names[0]} {small} {names[1]}" if small else f"{big} {names[0]}"
