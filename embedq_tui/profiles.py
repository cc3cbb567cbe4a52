"""Named databases: a small TOML file kept by the operator, used by ``--profile``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from embedq_tui.folders import settings_folder
from embedq_worker.configuration.loading import SettingRow, describe_settings, load_settings
from embedq_worker.configuration.settings import Settings
from embedq_worker.errors import SettingsError
from embedq_worker.text import printable_line


def default_file() -> Path:
    """Where the profiles are: ``EMBEDQ_PROFILES``, else the operator's settings folder.

    Raises:
        SettingsError: The home folder is unknown.
    """
    if named := os.environ.get("EMBEDQ_PROFILES"):
        return Path(named)
    return settings_folder() / "profiles.toml"


class Profile(BaseModel):
    """One database.

    Attributes:
        name: The key of its table; empty for the database from the environment.
        environment: Text of the badge: production, staging, test.
        colour: Of the badge; defaults to red for production, yellow for staging, green otherwise.
        read_only: Neither commands nor the console may change anything through this profile.
        database_url: Its URL; if absent, from the settings file.
        env_file: Settings file to read instead of ``.env``; a relative path is relative to profiles.toml.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = ""
    environment: str = Field("", max_length=20)
    colour: str = Field("", pattern="^(|red|yellow|green|blue|magenta|cyan)$")
    read_only: bool = False
    database_url: SecretStr | None = None
    env_file: Path | None = None

    @property
    def badge(self) -> str:
        """Text of the badge; empty for the database from the environment."""
        return self.environment or self.name

    @property
    def badge_colour(self) -> str:
        """Its colour, given or default."""
        word = self.badge.lower()
        if self.colour:
            return self.colour
        return "red" if word.startswith("prod") else "yellow" if word.startswith("stag") else "green"

    def settings(self, env_file: Path | None = None, **overrides: object) -> Settings:
        """The settings of this profile.

        Args:
            env_file: Settings file given on the command line, for a profile without its own.
            overrides: Values by field name that take precedence over all others.

        Raises:
            SettingsError: A value is invalid.
        """
        path = self.env_file or env_file
        url: dict[str, object] = (
            {"database_url": self.database_url.get_secret_value()} if self.database_url else {}
        )
        if self.read_only:
            overrides = {"db_read_only": True} | overrides
        return load_settings(path, **(url | overrides))

    def described(self, settings: Settings, env_file: Path | None = None) -> list[SettingRow]:
        """Every setting with its value and source.

        Args:
            settings: This profile's settings.
            env_file: As given to `settings`.
        """
        own = {"DATABASE_URL": self.database_url is not None, "DB_READ_ONLY": self.read_only}
        rows = describe_settings(settings, self.env_file or env_file)
        return [row._replace(source=f"profile {self.name}") if own.get(row.name) else row for row in rows]


@dataclass(frozen=True, slots=True)
class Profiles:
    """The contents of profiles.toml.

    Attributes:
        file: Its path.
        by_name: In file order.
        keys: The operator's own key bindings, by action id.
    """

    file: Path
    by_name: Mapping[str, Profile]
    keys: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str) -> Profile:
        """Find a profile by name.

        Raises:
            SettingsError: There is none.
        """
        if name not in self.by_name:
            known = ", ".join(self.by_name) or "none defined"
            raise SettingsError(f"no profile {name!r} in {self.file}", f"known profiles: {known}")
        return self.by_name[name]


def load_profiles(file: Path | None = None) -> Profiles:
    """Read the profiles; a missing file means none.

    Args:
        file: Instead of `default_file`.

    Raises:
        SettingsError: The file is invalid; names the profile and the key.
    """
    path = file or default_file()
    try:
        text = path.read_text(encoding="utf-8")
        import tomllib

        document = tomllib.loads(text)
    except FileNotFoundError:
        return Profiles(path, {})
    except ValueError as error:  # neither UTF-8 nor TOML
        raise SettingsError(f"{path}: {printable_line(str(error), 200)}") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    for name in document.keys() - {"profiles", "keys"}:
        raise SettingsError(
            f"{path}: {printable_line(name, 40)!r} is neither profiles nor keys",
            "a profile is a table [profiles.NAME]",
        )
    tables = document.get("profiles", {})
    if not isinstance(tables, dict):
        raise SettingsError(f"{path}: expected [profiles.NAME] tables")
    by_name = {name: _profile(path, name, table) for name, table in tables.items()}
    return Profiles(path, by_name, _keys(path, document.get("keys", {})))


def _keys(path: Path, table: object) -> Mapping[str, str]:
    if not isinstance(table, dict) or not all(isinstance(key, str) for key in table.values()):
        raise SettingsError(f'{path}: [keys] must hold lines such as "app.quit" = "ctrl+x"')
    return table


def _profile(path: Path, name: str, table: object) -> Profile:
    try:
        found = Profile.model_validate({**table, "name": name} if isinstance(table, dict) else table)
    except ValidationError as error:
        # Only the message: the invalid value may be a URL with a password in it.
        problem = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise SettingsError(f"{path}: profile {name!r}: {key}: {problem['msg']}") from None
    if found.env_file is None:
        return found
    try:
        env_file = path.parent / found.env_file.expanduser()
    except RuntimeError as error:  # ~ of an unknown user
        raise SettingsError(f"{path}: profile {name!r}: env_file: {error}") from None
    return found.model_copy(update={"env_file": env_file})
