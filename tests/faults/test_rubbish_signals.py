"""Anybody may NOTIFY our channels, with anything: workers and consoles take it for a hint, and live."""

from __future__ import annotations

from random import Random

from embedq_worker.database.channels import CHANGES, WORK
from embedq_worker.database.listener import Hearing
from tests.console.running import console, notices, store
from tests.support.content import queued_articles, until_tasks, wrong_articles
from tests.support.databases import Connection, Database
from tests.support.provider_stub import ProviderStub
from tests.support.waiting import until
from tests.support.worker_process import environment, worker_process

PAYLOADS = [
    "", " ", "tasks", "TASKS", "control", "provider", "resync", "workers", "null", "{", '{"table": "x"}',
    "[" * 7_900, '{"id": "not one", "status": {"a": []}}', "\x1b[2J\x1b]0;title\x07\x1b]52;c;aGk=\x07",
    "\r\n\t", "\u202e\u2066", "[red]x[/]", "[@click=app.quit]quit[/]", "%s%n", "'; DROP TABLE articles; --",
    "x" * 7_999, "\U0001f469\u200d\U0001f4bb" * 700, "-1", "1e999", "NaN", "../../etc/passwd",
]  # fmt: skip


async def shout(connection: Connection, random: Random, count: int) -> None:
    """Send rubbish on all our channels, alone and many in one transaction."""
    for _ in range(count):
        channel, payload = random.choice([WORK, CHANGES]), random.choice(PAYLOADS)
        await connection.execute("SELECT pg_notify($1, $2)", channel, payload)
    async with connection.transaction():
        for number in range(count):
            await connection.execute(
                "SELECT pg_notify($1, $2)", random.choice([WORK, CHANGES]), f"{number}{{"
            )


async def test_rubbish_on_our_channels_harms_neither_worker_nor_console(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    other = await database.connect()
    async with (
        worker_process(environment(database, stub, EMBEDDING_WORKER_INTERVAL=60_000)) as worker,
        console(database.settings, (120, 40)) as pilot,
    ):
        await worker.started()
        await until(lambda: store(pilot).hearing is Hearing.LISTENING)
        for key in "123456789":
            await pilot.press(key)
            await shout(other, Random(int(key)), 40)
        await queued_articles(connection, 5)  # what is said in earnest is heard as before
        await until_tasks(connection, completed=5)
        await until(lambda: (look := store(pilot).overview) is not None and look.queue.counts.completed == 5)
        assert await wrong_articles(connection) == []
        assert notices(pilot, severity="error") == []
        assert store(pilot).lost is None
        assert await worker.stop() == 0
    assert not worker.plain_lines
    assert not worker.heard("Traceback")
    assert [log for log in worker.logs if log["level"] in ("warning", "error")] == []
