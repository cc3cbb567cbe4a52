"""JSON that others wrote into the database, as values that can be shown and written again whatever it is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import isfinite

DEEPEST = 100
"""Levels; a document that goes deeper is one text."""


def document_of(text: str) -> object:
    """Read a jsonb value.

    PostgreSQL holds numbers beyond every float, and nests deeper than Python follows.

    Args:
        text: As PostgreSQL writes it.

    Returns:
        Plain values. A number that Python does not have is the text it is written with, a document that is
        too deep is the whole text.
    """
    try:
        value: object = json.loads(text, parse_float=_float, parse_int=_int)
    except (ValueError, RecursionError):
        return text
    return text if _goes_below(value, DEEPEST) else value


def _float(digits: str) -> float | str:
    value = float(digits)
    return value if isfinite(value) else digits


def _int(digits: str) -> int | str:
    return int(digits) if len(digits) <= 1_000 else digits


def _goes_below(value: object, levels: int) -> bool:
    """Whether anything lies deeper than that; level by level, so that depth costs no stack."""
    level: list[object] = [value]
    for _ in range(levels):
        level = [item for parent in level for item in _items(parent)]
        if not level:
            return False
    return True


def _items(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
