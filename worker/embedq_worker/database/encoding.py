"""Words of others, such as errors of a provider, for databases whose encoding lacks some characters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

T = TypeVar("T")


async def encodable(call: Callable[[Callable[[str], str]], Awaitable[T]]) -> T:
    r"""Make a call that stores words of others.

    If the database is not in UTF-8 and lacks one of their characters, the call is repeated with ``\u2026``
    and the like in their place: an error that cannot be stored would seem to be a failure of the call.

    Args:
        call: Applies the function that it is given to all such words.

    Raises:
        asyncpg.PostgresError: As the call does.
    """
    try:
        return await call(str)
    except asyncpg.UntranslatableCharacterError:
        return await call(_escaped)


def _escaped(words: str) -> str:
    return words.encode("ascii", "backslashreplace").decode()
