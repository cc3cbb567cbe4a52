"""Filters that an operator gave names to: a small JSON file of theirs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from embedq_tui.folders import settings_folder
from embedq_worker.errors import SettingsError

LONGEST_NAME = 40


def default_file() -> Path:
    """Where they are: in the operator's folder for settings, beside the profiles.

    Raises:
        SettingsError: Nobody knows a home folder.
    """
    return settings_folder() / "filters.json"


def load_filters(file: Path | None = None) -> dict[str, str]:
    """Read them; none where there is no file.

    Args:
        file: Instead of `default_file`.

    Raises:
        SettingsError: The file cannot be read or understood.
    """
    path = file or default_file()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        raise SettingsError(f"{path} is no JSON", "mend it or remove it") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise SettingsError(f"{path} is not an object of names with filters", "mend it or remove it")
    return found


def store_filters(filters: Mapping[str, str], file: Path | None = None) -> None:
    """Write them all; the file is the old one or the new one, never half of it.

    Args:
        filters: Texts by name.
        file: Instead of `default_file`.

    Raises:
        SettingsError: The file cannot be written.
    """
    path = file or default_file()
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(dict(sorted(filters.items())), indent=2) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from None
