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
        read_only: Nothing is to be changed.
        profiles: Databases by name.
        env_file: File of settings that was named.
        keymap: Keys by id of their binding, instead of ours.
        worker: A worker is started with these at once; None: when the operator says so.
        companion: Runs beside the console until it ends.
    """

    operator: str
    read_only: bool = False
    profiles: Profiles | None = None
    env_file: Path | None = None
    keymap: Mapping[str, str] | None = None
    worker: WorkerOptions | None = None
    companion: Callable[[], Coroutine[Any, Any, None]] | None = None
