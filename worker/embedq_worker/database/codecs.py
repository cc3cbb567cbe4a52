"""Timestamps beyond the range of datetime, and the vectors of pgvector: asyncpg reads neither by itself."""

from __future__ import annotations

import sys
from array import array
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedq_worker.database.connections import Connection
    from embedq_worker.providers.base import Vector

EARLIEST = datetime(2, 1, 1, tzinfo=UTC)
LATEST = datetime(9998, 12, 31, tzinfo=UTC)
"""Timestamps beyond them are clamped to them; a year short of the limits, so that no time zone overflows."""

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000
_FIRST, _LAST = (EARLIEST - _EPOCH) // _MICROSECOND, (LATEST - _EPOCH) // _MICROSECOND
_MINUS_INFINITY, _INFINITY = -(2**63), 2**63 - 1

_VECTOR_HEADER = Struct(">HH")


class FarTime(datetime):
    """`EARLIEST` or `LATEST`, standing in for a time beyond it.

    Attributes:
        stored: The value as PostgreSQL stores it, which is sent back unchanged: a list paged by time can
            continue behind it. None for a result of date arithmetic.
    """

    stored: int | None = None


async def register_times(connection: Connection) -> None:
    """Let a connection read every timestamp that PostgreSQL can store.

    asyncpg raises an error for years before 1 and after 9999, and returns infinity without a time zone: one
    such row would make a whole list unreadable.

    Args:
        connection: Just opened.
    """
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=_encoded, decoder=_decoded, format="tuple"
    )


# Cached, because all tasks of a claim have the same time: a tenth of what a task costs a worker.


def _decoded(value: tuple[int]) -> datetime:
    return _moment(value[0])


@lru_cache(maxsize=256)
def _moment(stored: int) -> datetime:
    if _FIRST <= stored <= _LAST:
        # A worker reads thousands of these; this takes less than half of `timedelta(microseconds=stored)`.
        seconds, microseconds = divmod(stored, _SECOND)
        return _EPOCH + timedelta(0, seconds, microseconds)
    end = EARLIEST if stored < _FIRST else LATEST
    far = FarTime.combine(end.date(), end.timetz())
    far.stored = stored
    return far


def _encoded(when: datetime) -> tuple[int]:
    """Encode for PostgreSQL; `EARLIEST` and `LATEST` without a stored value become infinite."""
    if isinstance(when, FarTime) and when.stored is not None:
        return (when.stored,)
    return _stored(when)


@lru_cache(maxsize=256)
def _stored(when: datetime) -> tuple[int]:
    if when <= EARLIEST:
        return (_MINUS_INFINITY,)
    if when >= LATEST:
        return (_INFINITY,)
    return ((when - _EPOCH) // _MICROSECOND,)


async def register_vectors(connection: Connection) -> None:
    """Register pgvector's binary format, see `encode_vector`; does nothing without pgvector."""
    try:
        await _register_vectors(connection)
    except ValueError:  # the extension was moved or dropped between the two statements
        await _register_vectors(connection)


async def _register_vectors(connection: Connection) -> None:
    schema = await connection.fetchval(
        """SELECT nspname FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
           WHERE extname = 'vector'"""
    )
    if schema is not None:
        await connection.set_type_codec(
            "vector", schema=schema, encoder=bytes, decoder=_decode_vector, format="binary"
        )


def encode_vector(vector: Vector) -> bytes:
    """Encode a vector in pgvector's binary format.

    Vectors are sent in arrays, and asyncpg would take an array inside an array for a second dimension; bytes
    it leaves alone.
    """
    swapped = vector[:]
    if sys.byteorder == "little":
        swapped.byteswap()
    return _VECTOR_HEADER.pack(len(vector), 0) + swapped.tobytes()


def _decode_vector(data: bytes) -> Vector:
    vector = array("f")
    vector.frombytes(data[_VECTOR_HEADER.size :])
    if sys.byteorder == "little":
        vector.byteswap()
    return vector
