"""Read the settings from the environment and .env, and list them with value, source and range."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit, urlunsplit

from annotated_types import Ge, Le
from dotenv import dotenv_values
from pydantic import AliasChoices, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from embedq_worker.errors import SettingsError
from embedq_worker.settings import Settings


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One line of `embedq-tui config`.

    Attributes:
        name: Variable as documented.
        spellings: Every accepted name, the documented one first.
        value: Value in force as text; secrets masked, passwords in URLs too.
        source: Variable it came from, ``.env: NAME``, or ``default``.
        range: What is accepted, as text.
        description: What it is for, with its unit.
    """

    name: str
    spellings: tuple[str, ...]
    value: str
    source: str
    range: str
    description: str


def load_settings(env_file: Path | None = None, **overrides: object) -> Settings:
    """Read the settings.

    Args:
        env_file: File to read instead of ``.env`` in the working directory.
        overrides: Values by field name that win over the environment (from command-line flags).

    Raises:
        SettingsError: A value is out of range or does not fit; names the variable.
    """
    if env_file is not None and not env_file.is_file():
        raise SettingsError(f"--env-file {env_file}: no such file")
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(_env_file=env_file or Path(".env"), **given)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError(_first_problem(error), "docs/configuration.md lists every setting") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{env_file or '.env'} is not UTF-8 text") from None


def describe_settings(settings: Settings, env_file: Path | None = None) -> list[SettingRow]:
    """List every setting with the value in force and where it came from.

    Args:
        settings: As loaded.
        env_file: The file it was loaded with.
    """
    environment = {name.upper(): name for name, value in os.environ.items() if value}
    file = {name.upper() for name, value in dotenv_values(env_file or Path(".env")).items() if value}
    return [
        _describe(name, field, settings, environment, file) for name, field in Settings.model_fields.items()
    ]


def _describe(
    attribute: str, field: FieldInfo, settings: Settings, environment: Mapping[str, str], file: set[str]
) -> SettingRow:
    spellings = spellings_of(field)
    in_environment = next((name for name in spellings if name in environment), None)
    in_file = next((name for name in spellings if name in file), None)
    source = in_environment or (f".env: {in_file}" if in_file else "default")
    shown = {"model_name": settings.model, "dimensions_wanted": settings.dimensions}
    value = shown.get(attribute, getattr(settings, attribute))
    return SettingRow(
        name=spellings[0],
        spellings=spellings,
        value=_masked(value),
        source=source,
        range=_range_of(field),
        description=field.description or "",
    )


def spellings_of(field: FieldInfo) -> tuple[str, ...]:
    """Environment variables that set a field, the documented one first."""
    alias = field.validation_alias
    assert isinstance(alias, AliasChoices)
    return tuple(str(name) for name in alias.choices)


def _masked(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, SecretStr):
        return _masked_url(value.get_secret_value()) if "://" in value.get_secret_value() else "********"
    if isinstance(value, bool):
        return str(value).lower()
    return _masked_url(value) if isinstance(value, str) and "://" in value else str(value)


def _masked_url(url: str) -> str:
    """A URL without its password and without its query, where secrets travel too."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    shown = f"{user.partition(':')[0]}:********{at}{host}" if ":" in user else parts.netloc
    return urlunsplit((parts.scheme, shown, parts.path, "", ""))


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
    return "true | false" if field.annotation is bool else "text"


def _first_problem(error: ValidationError) -> str:
    """The first validation error as one line that names the variable; the value of a secret is left out."""
    problem = error.errors(include_url=False)[0]
    reason = str(problem["msg"]).removeprefix("Value error, ")
    if not problem["loc"]:
        return reason
    name = str(problem["loc"][0])
    field = next(
        (f for key, f in Settings.model_fields.items() if name == key or name.upper() in spellings_of(f)),
        None,
    )
    secret = field is None or "SecretStr" in str(field.annotation)
    value = "" if secret else f"={problem['input']}"
    allowed = f" ({_range_of(field)})" if field else ""
    return f"{name.upper() if field is None else _used_spelling(name, field)}{value}: {reason}{allowed}"


def _used_spelling(name: str, field: FieldInfo) -> str:
    spellings = spellings_of(field)
    return name.upper() if name.upper() in spellings else spellings[0]
