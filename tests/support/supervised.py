"""A supervisor whose reports are recorded, and its worker."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from embedq_tui.supervisor.supervisor import Supervisor
from embedq_tui.supervisor.types import Patience, WorkerState
from embedq_worker.backoff import Backoff
from embedq_worker.configuration.settings import Settings
from tests.support.content import queued_articles, until_tasks
from tests.support.databases import DIMENSIONS, Connection, Database
from tests.support.provider_stub import ProviderStub
from tests.support.waiting import until

KEY = "sk-geheimnis-987654"
QUICK = Patience(restart=Backoff(0.01, 0.02))
IMPATIENT = Patience(grace_s=0.3, forced_s=0.3, restart=Backoff(0.01, 0.02))

OFF, STARTING, RUNNING, STOPPING, WAITING, FAILED = WorkerState


def settings_of(database: Database, stub: ProviderStub, **values: Any) -> Settings:
    wanted = {
        "EMBEDDING_PROVIDER": "openai",
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": stub.openai_url,
        "EMBEDDING_MODEL": "stub",
        "EMBEDDING_DIMENSIONS": DIMENSIONS,
        "DATABASE_URL": database.url,
        **values,
    }
    return Settings.model_validate(wanted)


class Watched:
    """A supervisor, and what it reported."""

    def __init__(self, settings: Settings, patience: Patience = QUICK) -> None:
        self.states: list[WorkerState] = []
        settings = settings.model_copy(update={"batch_size": 5, "concurrency": 2})
        self.supervisor = Supervisor(settings, by="ann@ops", on_change=self._changed, patience=patience)

    def _changed(self) -> None:
        if not self.states or self.states[-1] is not self.supervisor.state:
            self.states.append(self.supervisor.state)

    @property
    def pid(self) -> int:
        assert self.supervisor.pid is not None
        return self.supervisor.pid

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.supervisor.log.since(0))

    async def until(self, condition: Callable[[Supervisor], bool], within_s: float = 15.0) -> None:
        try:
            await until(lambda: condition(self.supervisor), within_s=within_s)
        except TimeoutError:
            raise AssertionError(f"{self.supervisor.state}: {self.text}") from None

    async def running(self) -> None:
        await self.until(lambda supervisor: supervisor.state is RUNNING)


@asynccontextmanager
async def watched(settings: Settings, patience: Patience = QUICK) -> AsyncIterator[Watched]:
    made = Watched(settings, patience)
    try:
        yield made
    finally:
        if made.supervisor.pid is not None:
            os.killpg(made.supervisor.pid, signal.SIGKILL)
        await made.supervisor.stop()
        await made.supervisor.close()


async def hold_tasks(connection: Connection, stub: ProviderStub, *, count: int = 5) -> None:
    """Let the worker, which is past its checks, claim tasks and wait for the provider in vain."""
    await queued_articles(connection, 1, slug="first")
    await until_tasks(connection, completed=1)
    await connection.execute("DELETE FROM embedding_tasks")
    stub.faults.hold = asyncio.Event()
    await queued_articles(connection, count)
    await until(lambda: stub.seen.in_flight >= 1)


def let_go(stub: ProviderStub) -> None:
    assert stub.faults.hold is not None
    stub.faults.hold.set()
    stub.faults.hold = None
