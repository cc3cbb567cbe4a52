"""Values that filters and options share, as typed: times, and beginnings of ids."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from embedq_worker.queue.wanted import CLOCKS_APART

LEAST_DIGITS = 6
"""Minimum length of the beginning of an id: of 10,000,000 tasks, about one matches six digits."""

_DURATION = re.compile(r"(\d+)\s*(s|m|min|h|d|w)", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_LONGEST = timedelta(days=365_000)
"""The longest duration that can be subtracted from any present date."""


def parse_moment(text: str) -> datetime | timedelta:
    """Read ``2h``, ``3d``, ``90 min`` (ago), or an ISO 8601 time; without a zone it is local.

    Raises:
        ValueError: It is neither, or out of range.
    """
    try:
        if found := _DURATION.fullmatch(text.strip()):
            duration = timedelta(seconds=int(found[1]) * _SECONDS[found[2].lower()])
            if duration > _LONGEST:
                raise ValueError(f"{text!r} is too long")
            return duration
        return datetime.fromisoformat(text.strip()).astimezone()
    except OverflowError as error:
        raise ValueError(f"{text!r} is out of range") from error


def parse_past(text: str) -> datetime | timedelta:
    """The same for a time since which something may have happened.

    Raises:
        ValueError: It is neither, out of range, or in the future.
    """
    found = parse_moment(text)
    if isinstance(found, datetime) and found > datetime.now().astimezone() + CLOCKS_APART:
        raise ValueError(f"{text!r} is in the future")
    return found


def parse_beginning(text: str) -> str | None:
    """Parse the beginning of an id, see `TaskFilter.id_begins`; None if the text is not one."""
    digits = text.replace("-", "").lower()
    return digits if re.fullmatch(f"[0-9a-f]{{{LEAST_DIGITS},31}}", digits) else None
