"""Dialogs for whoever does something to the database: questions, progress, reports, and what went wrong."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from textual.app import App

from embedq_tui.dialogs.confirm import Confirm, Confirmation, Decision
from embedq_tui.dialogs.dialog import Place, show
from embedq_tui.dialogs.outcome import REST, Report, Tell, broken
from embedq_tui.dialogs.running import SHOW_AFTER_S, Progress, Stopped, watch
from embedq_worker.errors import EmbedqError
from embedq_worker.text import printable, printable_line

T = TypeVar("T")


@dataclass(slots=True)
class Dialogs:
    """Dialogs that name one database. Its coroutines are called in workers of Textual.

    Attributes:
        app: Where they are shown.
        place: The database.
        read_only: Says why nothing may be changed; empty where it may.
        show_after_s: What takes less time shows no dialog of its progress.
        busy: So many things are under way, with a dialog of their progress or without.
    """

    app: App[Any]
    place: Place
    read_only: Callable[[], str] = lambda: ""
    show_after_s: float = SHOW_AFTER_S
    busy: int = 0

    def refused(self) -> bool:
        """Whether nothing may be changed here; tells the operator why."""
        why = self.read_only()
        if why:
            self.notify(f"Read-only: {why}", bad=True)
        return bool(why)

    async def confirm(self, confirmation: Confirmation) -> Decision:
        """Ask, with the database named."""
        return await show(self.app, Confirm(confirmation, self.place))

    async def tell(self, report: Report) -> None:
        """Tell something that has to be read."""
        await show(self.app, Tell(report, self.place))

    def notify(self, text: str, *, bad: bool = False) -> None:
        """Tell something in passing."""
        self.app.notify(printable(text), severity="warning" if bad else "information", markup=False)

    async def watch(self, progress: Progress, work: Callable[[Progress], Awaitable[T]]) -> T:
        """Do something, with a dialog of its progress where it takes its time; see `running.watch`."""
        self.busy += 1
        try:
            return await watch(self.app, progress, work, place=self.place, show_after_s=self.show_after_s)
        finally:
            self.busy -= 1

    async def attempt(
        self, progress: Progress, work: Callable[[Progress], Awaitable[T]], *, changes: bool = True
    ) -> T | None:
        """Do something to the database with `watch`, if it may be changed; tell what goes wrong.

        Args:
            progress: Of it.
            work: Does it.
            changes: False: it only looks, and is done where nothing may be changed, too.

        Returns:
            What the work returned; None where it was refused, stopped, or went wrong.
        """
        if changes and self.refused():
            return None
        with self.telling(f"{progress.title}: not done"):
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
        """Tell what goes wrong in the block instead of raising it: whatever it is, the console stays up."""
        try:
            yield
        except Stopped:
            pass
        except EmbedqError as error:
            self.app.notify(
                printable(str(error)), title=printable_line(title), severity="error", timeout=15, markup=False
            )
        except Exception as error:  # an error of ours
            self.app.log.error(traceback.format_exc())
            told = f"{type(error).__name__}: {printable_line(str(error), 300)}"
            self.app.notify(told, title="Internal error", severity="error", timeout=15, markup=False)
