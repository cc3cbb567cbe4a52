"""What is asked again and again reads no whole table, however many tasks there are."""

from __future__ import annotations

from datetime import timedelta

import pytest

from embedq_worker.insights.failures import failures
from embedq_worker.insights.health import health
from embedq_worker.insights.metrics import Span, metrics
from embedq_worker.insights.overview import overview
from embedq_worker.insights.stats import stats
from embedq_worker.insights.stuck import stuck
from tests.support.databases import Connection, Database

_TASKS = """
INSERT INTO embedding_tasks (id, operation, priority, status, error_message, created_at, scheduled_at,
                             completed_at)
SELECT embedq_uuid(), 'update', (ARRAY['high', 'normal', 'low'])[1 + n % 3],
       (ARRAY['pending', 'completed', 'completed', 'failed'])[1 + n % 4],
       CASE WHEN n % 4 = 3 THEN 'broke in way ' || chr(97 + n % 7) END,
       now() - n * interval '1 s', now() + (n % 200 - 100) * interval '1 min',
       CASE WHEN n % 4 <> 0 THEN now() - n * interval '1 s' END
FROM generate_series(1, 20000) AS n
"""


async def test_no_whole_table_is_read(database: Database, connection: Connection) -> None:
    if connection.get_server_version().major < 15:
        pytest.skip("the statistics of a session cannot be asked for at once")
    await connection.execute(_TASKS)
    await connection.execute("ANALYZE embedding_tasks")

    async def scans() -> int:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        return int(
            await connection.fetchval(
                "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'embedding_tasks'"
            )
        )

    before = await scans()
    seen = await overview(connection, database.settings)
    assert seen.queue.total == 20_000
    assert seen.queue.oldest_due_at is not None
    found = await failures(connection)
    assert sum(group.count for group in found.groups) == found.failed == 5_000
    assert (await stuck(connection, database.settings)).total == 0
    assert not (await health(connection, database.settings)).healthy
    assert (await metrics(connection, by=Span.HOUR, since=timedelta(hours=24))).total.failed == 5_000
    assert (await stats(connection, database.settings)).week.completed == 10_000
    assert await scans() == before


async def test_a_page_of_failure_groups_reads_only_its_own(connection: Connection) -> None:
    if connection.get_server_version().major < 15:
        pytest.skip("the statistics of a session cannot be asked for at once")
    await connection.execute(
        """INSERT INTO embedq_failure_counts (fingerprint, n)
           SELECT lpad(to_hex(n), 8, '0'), 1 + n % 50 FROM generate_series(1, 20000) AS n"""
    )
    await connection.execute("ANALYZE embedq_failure_counts")

    async def read() -> int:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        return int(
            await connection.fetchval(
                """SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables
                   WHERE relname = 'embedq_failure_counts'"""
            )
        )

    after = None
    for _ in range(3):
        before = await read()
        after = (await failures(connection, limit=20, after=after)).next
        assert after is not None
        assert await read() - before < 100
