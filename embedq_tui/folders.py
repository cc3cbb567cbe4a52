"""The operator's own folders, by the XDG base directory specification."""

from __future__ import annotations

import os
from pathlib import Path

from embedq_worker.errors import SettingsError


def settings_folder() -> Path:
    """The folder for profiles and saved filters: ``~/.config/embedq``.

    Raises:
        SettingsError: The home folder is unknown.
    """
    return _folder("XDG_CONFIG_HOME", ".config")


def state_folder() -> Path:
    """The folder for logs of workers left running: ``~/.local/state/embedq``.

    Raises:
        SettingsError: The home folder is unknown.
    """
    return _folder("XDG_STATE_HOME", ".local/state")


def _folder(variable: str, below_home: str) -> Path:
    try:
        named = Path(os.environ.get(variable, "")).expanduser()
        # The specification says to ignore relative paths.
        base = named if named.is_absolute() else Path.home() / below_home
    except RuntimeError:  # neither HOME nor a passwd entry
        raise SettingsError("this user has no home folder", f"set HOME or {variable}") from None
    return base / "embedq"
