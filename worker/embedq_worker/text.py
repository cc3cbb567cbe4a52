"""Text of other programs made fit for a terminal: it shows what is there and commands nothing."""

from __future__ import annotations

import re

# C0 but tab and line feed, DEL, C1 (a CSI of one character among them), the marks that turn the order of a
# line, the separators that some take for a line end, and halves of surrogate pairs, which cannot be written.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


def printable(text: str) -> str:
    """Replace every character that could move a cursor, start an escape sequence or turn text around.

    What follows an escape character stays, as plain text: nothing of what was written is hidden.

    Args:
        text: From the database, a provider, a file.

    Returns:
        Text of the same length; line feeds and tabs are kept, a CRLF has lost its CR to the replacement.
    """
    return _UNSAFE.sub(_REPLACEMENT, text)


def printable_line(text: str, width: int | None = None) -> str:
    """The same on one line, white space collapsed.

    Args:
        text: From the database, a provider, a file.
        width: Characters at most; what is longer ends in an ellipsis. None for all.
    """
    # Collapsed first, so that a CR at the end of a line is white space; some separators are, some are not.
    line = printable(" ".join(text.split()))
    if width is None or len(line) <= width:
        return line
    return f"{line[: max(width - 1, 0)].rstrip()}…"


def age(seconds: float) -> str:
    """A duration in its two biggest units: ``4 s``, ``12 min``, ``3 h 5 min``, ``2 d 4 h``."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if hours == 0:
        return f"{minutes} min"
    big, small, unit = (hours, minutes % 60, "h min") if days == 0 else (days, hours % 24, "d h")
    names = unit.split()
    return f"{big} {names[0]} {small} {names[1]}" if small else f"{big} {names[0]}"
