"""Dialogs for operations on a database: questions, progress, reports, errors."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from textual.app import App

from embedq_tui.dialogs.confirm import Confirm, Confirmation, Decision
from embedq_tui.dialogs.dialog import DatabaseLabel, show
from embedq_tui.dialogs.outcome import REST, Report, Tell, broken
from embedq_tui.dialogs.running import SHOW_AFTER_S, Progress, Stopped, watch
from embedq_worker.errors import EmbedqError
from embedq_worker.text import printable, printable_line

T = TypeVar("T")


@dataclass(slots=True)
class Dialogs:
    """Dialogs that name one database. Call its coroutines in Textual workers.

    Attributes:
        app: The application to show them in.
        database: The database.
        read_only: Returns why nothing may be changed; empty if changes are allowed.
        show_after_s: Seconds an operation may take without showing its progress.
        busy: Number of running operations, whether or not a dialog shows their progress.
    """

    app: App[Any]
    database: DatabaseLabel
    read_only: Callable[[], str]
    show_after_s: float = SHOW_AFTER_S
    busy: int = 0

    def refused(self) -> bool:
        """Whether changes are refused here; if so, tells the operator why."""
        why = self.read_only()
        if why:
            self.notify(f"Read-only: {why}", bad=True)
        return bool(why)

    async def confirm(self, confirmation: Confirmation) -> Decision:
        """Ask for confirmation, naming the database."""
        return await show(self.app, Confirm(confirmation, self.database))

    async def tell(self, report: Report) -> None:
        """Show a report that has to be closed."""
        await show(self.app, Tell(report, self.database))

    def notify(self, text: str, *, bad: bool = False) -> None:
        """Show a notification."""
        self.app.notify(printable(text), severity="warning" if bad else "information", markup=False)

    async def watch(self, progress: Progress, work: Callable[[], Awaitable[T]]) -> T:
        """Run an operation, with a progress dialog if it takes long; see `running.watch`."""
        self.busy += 1
        try:
            return await watch(
                self.app, progress, work, database=self.database, show_after_s=self.show_after_s
            )
        finally:
            self.busy -= 1

    async def attempt(
        self, progress: Progress, work: Callable[[], Awaitable[T]], *, changes: bool = True
    ) -> T | None:
        """Run an operation with `watch`, if changes are allowed; report any error.

        Args:
            progress: Its progress.
            work: The operation.
            changes: If False, it only reads, and runs in read-only mode too.

        Returns:
            The work's result; None if it was refused, stopped, or failed.
        """
        if changes and self.refused():
            return None
        with self.telling(f"{progress.title}: failed"):
            try:
                return await self.watch(progress, work)
            except Stopped:
                raise
            except EmbedqError as error:
                if not (progress.total and progress.done):
                    raise
                await self.tell(broken(error, f"{progress.title}, {progress.done:,} done", [REST]))
        return None

    @contextmanager
    def telling(self, title: str) -> Iterator[None]:
        """Report any error of the block instead of raising it: the console stays up whatever happens."""
        try:
            yield
        except Stopped:
            pass
        except EmbedqError as error:
            self.app.notify(
                printable(str(error)), title=printable_line(title), severity="error", timeout=15, markup=False
            )
        except Exception as error:  # a bug of ours
            self.app.log.error(traceback.format_exc())
            message = f"{type(error).__name__}: {printable_line(str(error), 300)}"
            self.app.notify(message, title="Internal error", severity="error", timeout=15, markup=False)
