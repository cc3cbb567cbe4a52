"""Values of this program as JSON has them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from uuid import UUID

from embedq_worker.text import stamp


def plain(value: object) -> object:
    """Turn a value into JSON types.

    Raises:
        TypeError: It has no JSON form.
    """
    match value:
        case None | bool() | int() | float():
            return value
        case Enum():
            return plain(value.value)
        case str():
            return value
        case datetime():
            return stamp(value)
        case UUID():
            return str(value)
        case tuple() if hasattr(value, "_asdict"):
            return {name: plain(item) for name, item in value._asdict().items()}
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case Sequence() | frozenset() | set():
            return [plain(item) for item in value]
        case _ if dataclasses.is_dataclass(value):
            return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON form")
