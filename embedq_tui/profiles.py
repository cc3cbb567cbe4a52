"""Databases by name: a small TOML file of the operator's, read by ``--profile``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from embedq_tui.folders import settings_folder
from embedq_worker.configuration import SettingRow, describe_settings, load_settings
from embedq_worker.errors import SettingsError
from embedq_worker.settings import Settings
from embedq_worker.text import printable_line


def default_file() -> Path:
    """Where the profiles are: ``EMBEDQ_PROFILES``, else in the operator's folder for settings.

    Raises:
        SettingsError: Nobody knows a home folder.
    """
    if named := os.environ.get("EMBEDQ_PROFILES"):
        return Path(named)
    return settings_folder() / "profiles.toml"


class Profile(BaseModel):
    """One database.

    Attributes:
        name: The key of its table; empty for the one of the environment.
        environment: Word for the badge: production, staging, test.
        colour: Of the badge; by default red for production, yellow for staging, green for the rest.
        read_only: Nothing is changed through this profile: by no command, and not by the console.
        database_url: Where it is; else it is taken from the file.
        env_file: File of settings to read instead of ``.env``; in the file, beside the file or in full.
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
        """Its word; empty for a database of the environment."""
        return self.environment or self.name

    @property
    def badge_colour(self) -> str:
        """The colour in force."""
        word = self.badge.lower()
        if self.colour:
            return self.colour
        return "red" if word.startswith("prod") else "yellow" if word.startswith("stag") else "green"

    def settings(self, env_file: Path | None = None, **overrides: object) -> Settings:
        """The settings of this profile.

        Args:
            env_file: File that was named on the command line; for the profile of the environment.
            overrides: Values by field name that win over all others.

        Raises:
            SettingsError: A value cannot be used.
        """
        path = self.env_file or env_file
        url: dict[str, object] = (
            {"database_url": self.database_url.get_secret_value()} if self.database_url else {}
        )
        if self.read_only:
            overrides = {"db_read_only": True} | overrides
        return load_settings(path, **(url | overrides))

    def described(self, settings: Settings, env_file: Path | None = None) -> list[SettingRow]:
        """Every setting with its value and where it is from.

        Args:
            settings: Of this profile.
            env_file: As it was given to `settings`.
        """
        own = {"DATABASE_URL": self.database_url is not None, "DB_READ_ONLY": self.read_only}
        rows = describe_settings(settings, self.env_file or env_file)
        return [row._replace(source=f"profile {self.name}") if own.get(row.name) else row for row in rows]


@dataclass(frozen=True, slots=True)
class Profiles:
    """All that were written down.

    Attributes:
        file: Where.
        by_name: In the order of the file.
        keys: Keys of the operator's own, by the name of what they do.
    """

    file: Path
    by_name: Mapping[str, Profile]
    keys: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str) -> Profile:
        """The profile of a name.

        Raises:
            SettingsError: There is none.
        """
        if name not in self.by_name:
            known = ", ".join(self.by_name) or "none are written down"
            raise SettingsError(f"no profile {name!r} in {self.file}", f"there are: {known}")
        return self.by_name[name]


def load_profiles(file: Path | None = None) -> Profiles:
    """Read the profiles; none where there is no file.

    Args:
        file: Instead of `default_file`.

    Raises:
        SettingsError: The file cannot be understood; names the profile and the key.
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
    tables = document.get("profiles", {})
    if not isinstance(tables, dict):
        raise SettingsError(f"{path}: [profiles.NAME] tables are expected")
    by_name = {name: _profile(path, name, table) for name, table in tables.items()}
    return Profiles(path, by_name, _keys(path, document.get("keys", {})))


def _keys(path: Path, table: object) -> Mapping[str, str]:
    if not isinstance(table, dict) or not all(isinstance(key, str) for key in table.values()):
        raise SettingsError(f'{path}: [keys] holds lines such as "app.quit" = "ctrl+x"')
    return table


def _profile(path: Path, name: str, table: object) -> Profile:
    try:
        found = Profile.model_validate({**table, "name": name} if isinstance(table, dict) else table)
    except ValidationError as error:
        # The message only: what was meant to be a URL may hold a password.
        problem = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise SettingsError(f"{path}: profile {name!r}: {key}: {problem['msg']}") from None
    if found.env_file is None:
        return found
    try:
        env_file = path.parent / found.env_file.expanduser()
    except RuntimeError as error:  # ~ of nobody
        raise SettingsError(f"{path}: profile {name!r}: env_file: {error}") from None
    return found.model_copy(update={"env_file": env_file})
