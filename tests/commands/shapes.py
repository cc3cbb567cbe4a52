"""The shapes of JSON answers as docs/commands.md gives them, and whether an answer has its shape.

In a shape ``"int"``, ``"number"``, ``"text"``, ``"bool"``, ``"time"`` (ISO 8601, UTC), ``"uuid"`` and
``"any"`` stand for values, ``"a|b"`` for one of these words, ``?`` behind one of them or behind a key for "or
null", ``{"*": ..}`` for any keys, a list of one for any number of such items. Every key is always there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

GUIDE = Path(__file__).parents[2] / "docs" / "commands.md"

_BLOCK = re.compile(r"^```json shape=(?P<name>[\w-]+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def documented_shapes() -> dict[str, Any]:
    """Every shape of the guide by its name."""
    return {match["name"]: json.loads(match["body"]) for match in _BLOCK.finditer(GUIDE.read_text("utf-8"))}


def assert_shape(value: Any, shape: Any, path: str = "$") -> None:
    """Compare a JSON value with a shape.

    Raises:
        AssertionError: Names the first place where they differ.
    """
    match shape:
        case {"*": inner}:
            assert isinstance(value, dict), path
            for key, item in value.items():
                assert_shape(item, inner, f"{path}.{key}")
        case dict():
            assert isinstance(value, dict), path
            assert sorted(value) == sorted(key.removesuffix("?") for key in shape), path
            for key, inner in shape.items():
                item = value[key.removesuffix("?")]
                if item is not None or not key.endswith("?"):
                    assert_shape(item, inner, f"{path}.{key}")
        case [inner]:
            assert isinstance(value, list), path
            for index, item in enumerate(value):
                assert_shape(item, inner, f"{path}[{index}]")
        case str():
            _assert_kind(value, shape, path)
        case _:
            raise AssertionError(f"{path}: the guide has a shape that is none: {shape!r}")


def _assert_kind(value: Any, shape: str, path: str) -> None:
    kind = shape.removesuffix("?")
    if value is None:
        assert kind != shape, f"{path} is null"
    elif "|" in kind:
        assert value in kind.split("|"), f"{path}: {value!r} is not {kind}"
    else:
        assert _KINDS[kind](value), f"{path}: {value!r} is not {kind}"


def _is_time(value: object) -> bool:
    if not isinstance(value, str):
        return False
    return datetime.fromisoformat(value).tzinfo == UTC and value.endswith("Z")


def _is_uuid(value: object) -> bool:
    return isinstance(value, str) and str(UUID(value)) == value


_KINDS: Mapping[str, Callable[[object], bool]] = {
    "any": lambda value: True,
    "int": lambda value: type(value) is int,
    "number": lambda value: type(value) in (int, float),
    "text": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "time": _is_time,
    "uuid": _is_uuid,
}
