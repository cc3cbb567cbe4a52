"""Filters that the operator saved by name, in a small JSON file."""

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
    """Where they are: in the operator's settings folder, beside the profiles.

    Raises:
        SettingsError: The home folder is unknown.
    """
    return settings_folder() / "filters.json"


def load_filters(file: Path | None = None) -> dict[str, str]:
    """Read the filters; a missing file means none.

    Args:
        file: Instead of `default_file`.

    Raises:
        SettingsError: The file cannot be read, or is invalid.
    """
    path = file or default_file()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        raise SettingsError(f"{path} is not valid JSON", "fix or remove the file") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise SettingsError(f"{path} must be a JSON object of filters by name", "fix or remove the file")
    return found


def store_filters(filters: Mapping[str, str], file: Path | None = None) -> None:
    """Write all filters atomically: the file is either the old one or the new one.

    Args:
        filters: Filter texts by name.
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
