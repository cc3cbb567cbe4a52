"""Times of PostgreSQL as Python has them, also those that it has no words for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncpg

EARLIEST = datetime(2, 1, 1, tzinfo=UTC)
LATEST = datetime(9998, 12, 31, tzinfo=UTC)
"""What lies beyond is told as one of these; a year of room, so that no zone leads out of a calendar."""

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000
_FIRST, _LAST = (EARLIEST - _EPOCH) // _MICROSECOND, (LATEST - _EPOCH) // _MICROSECOND
_MINUS_INFINITY, _INFINITY = -(2**63), 2**63 - 1


class FarTime(datetime):
    """`EARLIEST` or `LATEST`, in the place of a time beyond it.

    Attributes:
        stored: As PostgreSQL has it: it goes back as it came, so that a list goes on behind it. None where
            something was reckoned from it.
    """

    stored: int | None = None


async def register_times(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Let a connection read every timestamp there is.

    asyncpg takes one before the year 1 or after 9999 for an error, and infinity for a time without a zone:
    one such row would be a wall for whoever reads it.

    Args:
        connection: Just opened.
    """
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=_encoded, decoder=_decoded, format="tuple"
    )


def _decoded(value: tuple[int]) -> datetime:
    stored = value[0]
    if _FIRST <= stored <= _LAST:
        # A worker reads thousands: so split it costs less than half of `timedelta(microseconds=stored)`.
        seconds, microseconds = divmod(stored, _SECOND)
        return _EPOCH + timedelta(0, seconds, microseconds)
    end = EARLIEST if stored < _FIRST else LATEST
    far = FarTime.combine(end.date(), end.timetz())
    far.stored = stored
    return far


def _encoded(when: datetime) -> tuple[int]:
    """Without more knowledge the first and the last time mean for ever."""
    if isinstance(when, FarTime) and when.stored is not None:
        return (when.stored,)
    if when <= EARLIEST:
        return (_MINUS_INFINITY,)
    if when >= LATEST:
        return (_INFINITY,)
    return ((when - _EPOCH) // _MICROSECOND,)
