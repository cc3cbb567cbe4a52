"""Read the settings from the environment and .env, and list them with value, source and range."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Self, get_args

from annotated_types import Ge, Le
from dotenv import dotenv_values
from dotenv.parser import Original, parse_stream
from pydantic import AliasChoices, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from embedq_worker.configuration.settings import Settings, stated
from embedq_worker.configuration.urls import MASK, masked_url
from embedq_worker.errors import SettingsError
from embedq_worker.text import age, printable_line

NO_FILE = Path(os.devnull)
"""Given as --env-file, it means that only the environment is read."""

logging.getLogger("dotenv.main").setLevel(logging.ERROR)  # `_unread` warns instead, and names the file

_ENV_FILE = Path(".env")
_ANY_TEXT = "text"
_NOTHING = "-"
_UNITS = {"ms": 0.001, "s": 1.0, "h": 3_600.0, "days": 86_400.0}
"""Units, in seconds; the description of a duration ends in one of them."""

_LONG_S = 60.0
_SHOWN_CHARACTERS = 80
_SHOWN_OF_PATH = 300
_SHOWN_LINES = 5


class SettingRow(NamedTuple):
    """One line of `embedq-tui config`.

    Attributes:
        name: Variable as documented.
        spellings: Every accepted name, the documented one first.
        value: Effective value as text; secrets and passwords in URLs are masked.
        source: Where it comes from: the variable, ``FILE: NAME``, ``command line`` or ``default``.
        range: Accepted values, as text.
        description: Purpose, with the unit.
    """

    name: str
    spellings: tuple[str, ...]
    value: str
    source: str
    range: str
    description: str

    @property
    def told(self) -> str:
        """The value with its unit: ``8 h``, ``1800000 ms (30 min)``."""
        unit = self.description.rpartition(", ")[2]
        if unit not in _UNITS or self.value == _NOTHING:
            return self.value
        seconds = float(self.value) * _UNITS[unit]
        longer = f" ({age(seconds)})" if unit in ("ms", "s") and seconds >= _LONG_S else ""
        return f"{self.value} {unit}{longer}"


def load_settings(env_file: Path | None = None, **overrides: object) -> Settings:
    """Read the settings.

    Args:
        env_file: File to read instead of ``.env`` in the working directory; `NO_FILE` for none.
        overrides: Values by field name that override the environment (from command-line options).

    Raises:
        SettingsError: A value is invalid or out of range; the message names the variable.
    """
    if env_file is not None and not os.path.isfile(env_file) and env_file != NO_FILE:
        # os.path instead of Path, which raises an error if the name is too long.
        raise SettingsError(f"--env-file {printable_line(str(env_file), _SHOWN_OF_PATH)}: no such file")
    given = {name: value for name, value in overrides.items() if value is not None}
    path = env_file or _ENV_FILE
    try:
        settings = Settings(_env_file=path, **given)  # type: ignore[arg-type]
        settings.tell_sources(unread=_unread(path), unused=_unused(path))
        return settings
    except ValidationError as error:
        problem = _first_problem(error, _Sources.read(path, given))
        raise SettingsError(problem, "see docs/configuration.md for every setting") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None


def _unread(path: Path) -> str:
    """A sentence about lines that are ignored. They are no error: other programs may understand them."""
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8") as file:
        lines = [
            str(_line(each.original))
            for each in parse_stream(file)
            if each.error or (each.key and each.value is None)
        ]
    if not lines:
        return ""
    which = ", ".join(lines[:_SHOWN_LINES]) + (" .." if len(lines) > _SHOWN_LINES else "")
    name = printable_line(path.name, _SHOWN_OF_PATH)
    return f"{name}: ignored, not NAME=VALUE or an unclosed quote: line {which}"


def _line(original: Original) -> int:
    """Number of a line that the parser gives together with the blank ones above it."""
    text = original.string
    return original.line + text[: -len(text.lstrip())].count("\n")


def _unused(path: Path) -> Iterator[str]:
    """A sentence for each spelling that is overridden by another one with a different value."""
    places = [
        {name.upper(): text for name, value in values.items() if (text := stated(value))}
        for values in (os.environ, dotenv_values(path) if path.is_file() else {})
    ]
    for field in Settings.model_fields.values():
        for place in places:
            given = [name for name in spellings_of(field) if name in place]
            for name in given[1:]:
                if place[name] != place[given[0]]:
                    yield f"{name} has no effect: {given[0]} is also set, to a different value"
            if given:
                break


def environment_of(settings: Settings, base: Mapping[str, str]) -> dict[str, str]:
    """Build the environment that gives another embedq program exactly these settings.

    Args:
        settings: As loaded, or a changed copy; the result holds their secrets in clear text.
        base: The rest of the environment; embedq's own variables in it are dropped.

    Returns:
        An environment from which `load_settings(NO_FILE)` reads the same settings.
    """
    fields = Settings.model_fields
    ours = {name.upper() for field in fields.values() for name in spellings_of(field)}
    environment = {name: value for name, value in base.items() if name.upper() not in ours}
    for attribute, field in fields.items():
        value = getattr(settings, attribute)
        if value is not None:
            text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            environment[spellings_of(field)[0]] = text
    return environment


def describe_settings(settings: Settings, env_file: Path | None = None) -> list[SettingRow]:
    """List every setting with its effective value and where that comes from.

    Args:
        settings: As loaded.
        env_file: The file it was loaded with.
    """
    sources = _Sources.read(env_file or _ENV_FILE)
    fields = Settings.model_fields
    inherited_last = sorted(fields, key=lambda name: name not in Settings.__annotations__)
    return [_describe(name, fields[name], settings, sources) for name in inherited_last]


class _Sources(NamedTuple):
    """Variables set in the environment and in the file, in capitals, and fields set by options."""

    environment: frozenset[str]
    file: frozenset[str]
    file_name: str
    flags: frozenset[str]

    @classmethod
    def read(cls, path: Path, flags: Iterable[str] = ()) -> Self:
        values = dotenv_values(path) if path.is_file() else {}
        name = printable_line(path.name, _SHOWN_OF_PATH)
        return cls(_set_names(os.environ), _set_names(values), name, frozenset(flags))

    def spelling(self, field: FieldInfo) -> tuple[str, str] | None:
        """Where a field is set and under which name; None if its default applies."""
        for place, names in (("", self.environment), (f"{self.file_name}: ", self.file)):
            for name in spellings_of(field):
                if name in names:
                    return place, name
        return None


def _set_names(values: Mapping[str, str | None]) -> frozenset[str]:
    return frozenset(name.upper() for name, value in values.items() if stated(value))


def _describe(attribute: str, field: FieldInfo, settings: Settings, sources: _Sources) -> SettingRow:
    spellings = spellings_of(field)
    found = sources.spelling(field)
    default = "command line" if attribute in settings.model_fields_set else "default"
    shown = {"model_name": settings.model, "dimensions_wanted": settings.dimensions}
    return SettingRow(
        name=spellings[0],
        spellings=spellings,
        value=_masked(shown.get(attribute, getattr(settings, attribute))),
        source="".join(found) if found else default,
        range=_range_of(field),
        description=field.description or "",
    )


def spellings_of(field: FieldInfo) -> tuple[str, ...]:
    """Environment variables that set a field, the documented name first."""
    alias = field.validation_alias
    return tuple(map(str, alias.choices)) if isinstance(alias, AliasChoices) else (str(alias),)


def _masked(value: object) -> str:
    if value is None:
        return _NOTHING
    if isinstance(value, SecretStr):
        if not (secret := value.get_secret_value()):
            return _NOTHING
        return masked_url(secret) if "://" in secret else MASK
    if isinstance(value, bool):
        return str(value).lower()
    return masked_url(value) if isinstance(value, str) and "://" in value else str(value) or _NOTHING


def _range_of(field: FieldInfo) -> str:
    low = next((m.ge for m in field.metadata if isinstance(m, Ge)), None)
    high = next((m.le for m in field.metadata if isinstance(m, Le)), None)
    if low is not None or high is not None:
        return f"{low}..{high}"
    choices = [c for c in get_args(field.annotation) if isinstance(c, str)]
    for inner in get_args(field.annotation):
        choices.extend(c for c in get_args(inner) if isinstance(c, str))
    if choices:
        return " | ".join(choices)
    return "true | false" if field.annotation is bool else _ANY_TEXT


def _first_problem(error: ValidationError, sources: _Sources) -> str:
    """The first validation error as one line that names the variable, without the value of a secret."""
    problem = error.errors(include_url=False)[0]
    reason = str(problem["msg"]).removeprefix("Value error, ")
    if not problem["loc"]:
        return reason
    name = str(problem["loc"][0])
    attribute, field = next(
        (attribute, field)
        for attribute, field in Settings.model_fields.items()
        if name == attribute or name.upper() in spellings_of(field)
    )
    found = None if attribute in sources.flags else sources.spelling(field)
    spelling = found[1] if found else spellings_of(field)[0]
    range_ = _range_of(field)
    allowed = "" if range_ == _ANY_TEXT or problem["type"] == "literal_error" else f" ({range_})"
    return f"{spelling}{_shown_input(field, problem['input'])}: {reason}{allowed}"


def _shown_input(field: FieldInfo, value: object) -> str:
    # A malformed URL may have its password anywhere.
    if "SecretStr" in str(field.annotation) or spellings_of(field)[0].endswith("_URL"):
        return ""
    return f"={printable_line(str(value), _SHOWN_CHARACTERS)}"
