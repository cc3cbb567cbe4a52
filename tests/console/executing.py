"""An application that does nothing but carry out requests, and what they are about."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Button, Static
from textual.worker import Worker

from embedq_tui.dialogs.dialog import DatabaseLabel
from embedq_tui.dialogs.running import SHOW_AFTER_S
from embedq_tui.dialogs.service import Dialogs
from embedq_tui.execution.executor import Executor
from embedq_tui.execution.undo import UndoHistory
from embedq_tui.live.link import Link
from embedq_worker.queue.wanted import TaskFilter
from tests.support.databases import Database
from tests.support.waiting import until

BY = "ann@ops"
HOSTILE = "[/foo][@click=app.quit]x[red $error a[/ \x1b]52;c;aGk=\x07\u202e\u4e2d"
PENDING = TaskFilter(statuses=("pending",))

S = TypeVar("S", bound=Screen[Any])
T = TypeVar("T")


class Bench(App[None]):
    """An application that does nothing but carry out requests."""

    def __init__(
        self, database: Database, read_only: Callable[[], str], show_after_s: float, **values: Any
    ) -> None:
        super().__init__()
        self.link = Link(database.settings)
        self.dialogs = Dialogs(self, DatabaseLabel(self.link.place), read_only, show_after_s)
        self.history = UndoHistory(self.dialogs, self.link, BY)
        self.executor = Executor(self.dialogs, self.link, BY, self.history, **values)
        self.told: list[str] = []

    def notify(self, message: str, **values: Any) -> None:
        """Keep what is told in passing."""
        self.told.append(message)
        super().notify(message, **values)

    def begin(self, work: Coroutine[Any, Any, T]) -> Worker[T]:
        """Do something as a screen would."""
        return self.run_worker(work, exit_on_error=False)

    async def dialog(self, kind: type[S]) -> S:
        """The dialog that is shown, as soon as it takes keys."""
        await until(lambda: isinstance(self.screen, kind) and self.screen.focused is not None)
        assert isinstance(self.screen, kind)
        return self.screen


@asynccontextmanager
async def bench(
    database: Database,
    size: tuple[int, int] = (80, 24),
    *,
    read_only: Callable[[], str] = lambda: "",
    show_after_s: float = SHOW_AFTER_S,
    **values: Any,
) -> AsyncIterator[tuple[Bench, Pilot[None]]]:
    """The application on its terminal."""
    app = Bench(database, read_only, show_after_s, **values)
    async with app.link.opened(), app.run_test(size=size, notifications=True, tooltips=True) as pilot:
        yield app, pilot


def said(screen: Screen[Any]) -> str:
    """Everything a dialog says."""
    texts = [str(found.content) for found in screen.query(Static)]
    return "\n".join([*texts, *(str(found.label) for found in screen.query(Button))])


@asynccontextmanager
async def held_up(database: Database) -> AsyncIterator[None]:
    """Inside the block nobody can change the task of the eighth article: its batch waits."""
    holder = await database.connect()
    await holder.execute(
        """CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NEW; END $$;
           CREATE TRIGGER wait BEFORE UPDATE ON embedding_tasks FOR EACH ROW
           WHEN (OLD.slug = 'article-7') EXECUTE FUNCTION wait();
           SELECT pg_advisory_lock(7)"""
    )
    yield
    await holder.close()
