"""Where files of an operator's own are kept: in the base directories of the XDG convention."""

from __future__ import annotations

import os
from pathlib import Path

from embedq_worker.errors import SettingsError


def settings_folder() -> Path:
    """For profiles and saved filters: ``~/.config/embedq``.

    Raises:
        SettingsError: Nobody knows a home folder.
    """
    return _folder("XDG_CONFIG_HOME", ".config")


def state_folder() -> Path:
    """For logs of workers that are left running: ``~/.local/state/embedq``.

    Raises:
        SettingsError: Nobody knows a home folder.
    """
    return _folder("XDG_STATE_HOME", ".local/state")


def _folder(variable: str, below_home: str) -> Path:
    try:
        named = Path(os.environ.get(variable, "")).expanduser()
        # A relative one means nothing, says the convention.
        base = named if named.is_absolute() else Path.home() / below_home
    except RuntimeError:  # neither HOME nor an entry in passwd
        raise SettingsError("this user has no home folder", f"set HOME, or {variable}") from None
    return base / "embedq"
