"""JSON that other programs stored in the database, read so that any of it can be shown and written again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import isfinite

DEEPEST = 100
"""Levels of nesting; a document nested deeper is treated as text."""


def document_of(text: str) -> object:
    """Read a jsonb value.

    PostgreSQL accepts numbers larger than any float, and documents nested deeper than Python can follow.

    Args:
        text: As PostgreSQL prints it.

    Returns:
        Plain values. A number that Python cannot represent stays text, and so does a document as a whole if
        it is nested too deeply.
    """
    try:
        value: object = json.loads(text, parse_float=_float, parse_int=_int)
    except (ValueError, RecursionError):
        return text
    return text if _is_too_deep(value) else value


def _float(digits: str) -> float | str:
    value = float(digits)
    return value if isfinite(value) else digits


def _int(digits: str) -> int | str:
    return int(digits) if len(digits) <= 1_000 else digits


def _is_too_deep(value: object) -> bool:
    """Whether anything is nested deeper than `DEEPEST`; goes level by level, so that depth needs no stack."""
    level: list[object] = [value]
    for _ in range(DEEPEST):
        level = [item for parent in level for item in _items(parent)]
        if not level:
            return False
    return True


def _items(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
