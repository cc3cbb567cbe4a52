"""Rows that nobody should write and the columns allow: the worker works, and all tell what there is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random, SystemRandom
from typing import cast
from uuid import UUID

import pytest

from embedq_tui.console.app import Console
from tests.commands.every_command import CALLS, Kind
from tests.commands.running import Tui
from tests.console.running import console, notices, store
from tests.support.content import add_articles, queued_articles, until_true, wrong_articles
from tests.support.databases import DIMENSIONS, Connection, Database
from tests.support.odd_rows import LOOSE, OddRows, insert_odd
from tests.support.provider_stub import ProviderStub
from tests.support.waiting import until
from tests.support.worker_process import WorkerProcess, environment, worker_process

SEED = "EMBEDQ_TEST_SEED"
"""Repeats a long run."""

ODD_TEXTS = [
    "",
    " \n\t",
    "\x01\x02",
    "# " * 2_000,
    "word " * 5_000,
    "```\n" * 300,
    "x" * 100_000,
    "|a\n|-\n" * 500,
]

WORKED_OFF = """
    WITH held AS (
        SELECT t.article_id, EXISTS (SELECT FROM embedq_workers w WHERE w.id = t.worker_id) AS ours
        FROM embedding_tasks t WHERE t.status = 'processing'
    )
    SELECT NOT EXISTS (SELECT FROM held WHERE ours) AND NOT EXISTS (
        SELECT FROM embedding_tasks t WHERE t.status = 'pending' AND t.scheduled_at <= now()
        AND NOT EXISTS (SELECT FROM held WHERE held.article_id = t.article_id))
"""
"""Nothing is due but what waits for a task of its article that another program has in hand."""

ZONES = ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"]


@dataclass(frozen=True)
class Odd:
    """A queue with odd rows in it.

    Attributes:
        healthy: Articles that nothing is wrong with, each with a task.
        articles: Those that the odd rows are about.
        tasks: Odd ones.
    """

    healthy: list[int]
    articles: list[int]
    tasks: list[UUID]


async def furnish(connection: Connection, random: Random, *, rows: int, loose: bool) -> Odd:
    """Fill the tables with odd rows, and a few that are as they should be."""
    if loose:
        await connection.execute(LOOSE)
    articles = await add_articles(connection, ODD_TEXTS, slug="odd")
    makes = OddRows(random, articles)
    tasks = [makes.task(loose=loose) for _ in range(rows)]
    for row in tasks:
        await insert_odd(connection, "embedding_tasks", row)
    ids = [UUID(row["id"]) for row in tasks]
    makes = OddRows(random, articles, ids)
    for _ in range(rows // 2):
        await insert_odd(connection, "embedding_audit_logs", makes.audit(loose=loose))
        await insert_odd(connection, "performance_metrics", makes.metric())
    healthy = await queued_articles(connection, 20, slug="healthy")
    return Odd(healthy, articles, ids)


async def works_it_off(connection: Connection, worker: WorkerProcess, odd: Odd) -> None:
    """Wait until all is right that can be: the healthy articles, and nothing waits without a reason."""
    await until_true(connection, WORKED_OFF, within_s=60)
    assert worker.running, worker.text
    assert not worker.plain_lines, worker.text
    for word in ("crashed", "a batch failed", "Traceback", "claiming failed"):
        assert not worker.heard(word), worker.text
    assert not set(odd.healthy) & set(await wrong_articles(connection))
    drift = await connection.fetch("SELECT * FROM embedq_repair_counts()")
    assert drift == []


@pytest.fixture
def tui(anywhere: Tui, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tui]:
    """Commands, in a zone that may be changed."""
    anywhere.variables |= {"DATABASE_URL": database.url, "EMBEDDING_DIMENSIONS": str(DIMENSIONS)}
    yield anywhere
    monkeypatch.undo()
    time.tzset()


async def look_with_every_command(
    tui: Tui, odd: Odd, zone: str, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Ask every command that looks, for people and for scripts.

    Returns:
        What was not as it should be.
    """
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    lines = [
        name.split()
        for name, call in CALLS.items()
        if call.kind is Kind.LOOKS and name not in ("show", "article")
    ]
    lines += [
        ["list", "--status", status, "--limit", "500"]
        for status in ("pending", "processing", "completed", "failed")
    ]
    lines += [["show", str(task)] for task in odd.tasks[:10]] + [
        ["article", str(article)] for article in odd.articles
    ]
    lines += [
        ["metrics", "--plot"],
        ["audit", "--limit", "500"],
        ["recent", "--limit", "500"],
        ["failed", "--details"],
    ]
    wrong = []
    for line in lines:
        line = {"search": ["search", "anything", "--any-model"], "monitor": ["monitor", "--once"]}.get(
            line[0], line
        )
        for form in ([], ["--json"]):
            answer = await tui(*line, *form)
            if answer.code not in (0, 1) or "Traceback" in answer.err:
                wrong.append(f"{zone}: {' '.join([*line, *form])}: {answer.code} {answer.err}")
            if "\x1b" in answer.out or "\u202e" in answer.out:
                wrong.append(f"{line} writes what commands a terminal")
    return wrong


async def look_with_the_console(database: Database, *, rows: int) -> list[str]:
    """Show every screen, and the details of the first rows.

    Returns:
        What was not as it should be.
    """
    wrong = []
    async with console(database.settings, (120, 40)) as pilot:
        app = cast(Console, pilot.app)
        for key in "123456789":
            await pilot.press(key)
            asked = store(pilot).answers
            questions = set(app.shown.questions() if app.shown else ())
            await until(lambda questions=questions, asked=asked: questions <= asked.keys())  # type: ignore[misc]
            wrong += [f"{key}: {one}: {answer.error}" for one, answer in asked.items() if answer.error]
            for _ in range(rows):
                await pilot.press("down", "enter", "escape")
        wrong += notices(pilot, severity="error")
    return wrong


@dataclass(frozen=True)
class Scene:
    """Everything that a round needs.

    Attributes:
        database: Migrated.
        connection: To it.
        tui: Commands on it.
        monkeypatch: Of the test.
    """

    database: Database
    connection: Connection
    tui: Tui
    monkeypatch: pytest.MonkeyPatch

    async def play(self, random: Random, *, rows: int, loose: bool, details: int) -> None:
        """Let the worker, the commands and the console meet odd rows."""
        odd = await furnish(self.connection, random, rows=rows, loose=loose)
        async with ProviderStub(dimensions=DIMENSIONS) as stub:
            self.tui.variables["OPENAI_BASE_URL"] = stub.openai_url
            variables = environment(
                self.database, stub, EMBEDDING_WORKER_INTERVAL=200, EMBEDDING_RETRY_BACKOFF_MAX=1000
            )
            async with worker_process(variables, "--batch-size", "20", "--concurrency", "4") as worker:
                await works_it_off(self.connection, worker, odd)
                assert await worker.stop() == 0
            wrong = await look_with_every_command(self.tui, odd, random.choice(ZONES), self.monkeypatch)
            wrong += await look_with_the_console(self.database, rows=details)
        assert not wrong, "\n".join(wrong)


@pytest.fixture
def scene(database: Database, connection: Connection, tui: Tui, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(database, connection, tui, monkeypatch)


async def test_whatever_is_in_the_tables_all_go_on(scene: Scene) -> None:
    await scene.play(Random(7), rows=30, loose=True, details=0)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("turn", range(4))
async def test_whatever_is_in_the_tables_all_go_on_at_random(scene: Scene, turn: int) -> None:
    seed = int(os.environ.get(SEED) or SystemRandom().randrange(2**32))
    print(f"{SEED}={seed}")
    await scene.play(Random(seed), rows=300, loose=bool(turn % 2), details=3)
