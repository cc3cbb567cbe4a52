"""How the console is started."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from embedq_tui.profiles import Profiles


class Options(NamedTuple):
    """How the console was started.

    Attributes:
        operator: ``user@host``, for the audit log.
        read_only: Disable every action that changes data.
        profiles: Databases by name.
        env_file: Settings file given on the command line.
        keymap: Custom keys by binding id.
        worker: Start a worker at once instead of waiting for the operator.
        companion: A coroutine to run beside the console until it ends.
    """

    operator: str
    read_only: bool = False
    profiles: Profiles | None = None
    env_file: Path | None = None
    keymap: Mapping[str, str] | None = None
    worker: bool = False
    companion: Callable[[], Coroutine[Any, Any, None]] | None = None
