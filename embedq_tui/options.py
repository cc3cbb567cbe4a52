"""How the console is started."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from embedq_tui.profiles import Profiles

if TYPE_CHECKING:
    from embedq_tui.supervisor.types import WorkerOptions


class Options(NamedTuple):
    """How the console was started.

    Attributes:
        operator: ``user@host``, for the audit log.
        read_only: Disable every action that changes data.
        profiles: Databases by name.
        env_file: Settings file given on the command line.
        keymap: Custom keys by binding id.
        worker: Start a worker with these options at once; None to wait for the operator.
        companion: A coroutine to run beside the console until it ends.
    """

    operator: str
    read_only: bool = False
    profiles: Profiles | None = None
    env_file: Path | None = None
    keymap: Mapping[str, str] | None = None
    worker: WorkerOptions | None = None
    companion: Callable[[], Coroutine[Any, Any, None]] | None = None
