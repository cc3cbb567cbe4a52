"""Invalid settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedq_worker.configuration.loading import load_settings
from embedq_worker.errors import ExitCode, SettingsError


def refusal(file: Path | None = None, **flags: object) -> str:
    """The error for invalid settings, which must be one line without a cause."""
    with pytest.raises(SettingsError) as caught:
        load_settings(file, **flags)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in caught.value.message
    assert caught.value.__cause__ is None
    return str(caught.value)
