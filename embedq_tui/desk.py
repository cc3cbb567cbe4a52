"""What screens work with on one database, each part created on first use: the first frame does not wait."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from textual.app import App

from embedq_tui.live.session import Session
from embedq_tui.profiles import Profiles

if TYPE_CHECKING:
    from embedq_tui.dialogs.service import Dialogs
    from embedq_tui.execution.executor import Executor
    from embedq_tui.supervisor.supervisor import Supervisor


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


class Desk:
    """One database as an operator works on it: its session, dialogs, executor and worker supervisor.

    Args:
        app: The application to show dialogs in.
        session: The session with the database.
        options: How the console was started.
        on_change: Called when the state of this console's worker changes.

    Attributes:
        app, session, options: As given.
    """

    def __init__(
        self, app: App[Any], session: Session, options: Options, on_change: Callable[[], None]
    ) -> None:
        self.app = app
        self.session = session
        self.options = options
        self._on_change = on_change
        self._read_only: str | None = None
        self._dialogs: Dialogs | None = None
        self._executor: Executor | None = None
        self._supervisor: Supervisor | None = None

    @property
    def about_to_ask(self) -> bool:
        """Whether a running operation may be about to show a dialog."""
        return self._dialogs is not None and self._dialogs.busy > 0

    @property
    def dialogs(self) -> Dialogs:
        """Dialogs that name this database."""
        if self._dialogs is None:
            from embedq_tui.dialogs.dialog import DatabaseLabel
            from embedq_tui.dialogs.service import Dialogs

            session, profile = self.session, self.session.profile
            database = DatabaseLabel(session.link.place, profile.badge, profile.badge_colour)
            self._dialogs = Dialogs(self.app, database, lambda: session.read_only)
        return self._dialogs

    @property
    def executor(self) -> Executor:
        """Carries out requests on this database."""
        if self._executor is None:
            from embedq_tui.execution.executor import Executor
            from embedq_tui.execution.undo import UndoHistory
            from embedq_tui.live.troubles import idle

            session, by = self.session, self.options.operator
            history = UndoHistory(self.dialogs, session.link, by)
            self._executor = Executor(self.dialogs, session.link, by, history, lambda: idle(session.store))
        return self._executor

    @property
    def supervisor(self) -> Supervisor:
        """Starts and stops this console's worker."""
        if self._supervisor is None:
            from embedq_tui.supervisor.supervisor import Supervisor

            settings, by = self.session.settings, self.options.operator
            self._supervisor = Supervisor(settings, by=by, on_change=self._on_change)
        return self._supervisor

    def tell_turned(self) -> None:
        """Notify the operator when the database becomes read-only or writable again."""
        if self.session.store.access is None:
            return
        before, self._read_only = self._read_only, self.session.read_only
        if before is None or bool(before) == bool(self._read_only):
            return
        message = f"Now read-only: {self._read_only}" if self._read_only else "No longer read-only"
        self.dialogs.notify(message, bad=bool(self._read_only))

    async def close(self) -> None:
        """Let a worker that was not deliberately left running finish its tasks and exit by itself."""
        if self._supervisor is not None:
            await self._supervisor.close()
