"""Reads of the audit log: page by page, and no more of it than is shown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import pytest

from embedq_worker.errors import EmbedqError
from embedq_worker.insights.audit import AuditFilter, audit_page, logged_tasks, require_operation
from embedq_worker.insights.audit_tail import AuditTail
from embedq_worker.queue.selection import Cursor
from tests.support.databases import Connection

FILL = """
INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, task_id, operation_id)
SELECT embedq_uuid(), now() - (n / 3) * interval '1 s', CASE WHEN n % 500 = 0 THEN 'error' ELSE 'info' END,
       CASE WHEN n % 700 = 0 THEN 'queue_operations' ELSE 'task_lifecycle' END, n::text,
       md5((n % 1000)::text)::uuid, (n % 4)::text
FROM generate_series(1, 20000) AS n
"""


@asynccontextmanager
async def at_most(session: Connection, rows: int) -> AsyncIterator[None]:
    """What happens here reads no more rows of the log than these."""
    asked = """SELECT seq_scan, seq_tup_read + coalesce(idx_tup_fetch, 0) AS rows
               FROM pg_stat_xact_user_tables WHERE relname = 'embedding_audit_logs'"""
    transaction = session.transaction()
    await transaction.start()
    before = await session.fetchrow(asked)
    yield
    after = await session.fetchrow(asked)
    await transaction.rollback()
    assert before is not None
    assert after is not None
    assert after["seq_scan"] == before["seq_scan"]
    assert after["rows"] - before["rows"] <= rows


async def test_pages_are_whole_and_read_nothing_else(connection: Connection) -> None:
    await connection.execute(FILL)
    for wanted, number in (
        (AuditFilter(), 20_000),
        (AuditFilter(level="error"), 40),
        (AuditFilter(level="warn", since=timedelta(hours=1)), 21),
        (AuditFilter(category="queue_operations"), 28),
        (AuditFilter(task=UUID("c4ca4238-a0b9-2382-0dcc-509a6f75849b")), 20),
        (AuditFilter(operation="3"), 5_000),
    ):
        async with at_most(connection, 200):
            first = await audit_page(connection, wanted, limit=10)
        async with at_most(connection, 200):
            await audit_page(connection, wanted, limit=10, after=first.next)
        size = max(7, number // 3)
        found: list[tuple[object, UUID]] = []
        after: Cursor | None = None
        while not found or after:
            page = await audit_page(connection, wanted, limit=size, after=after)
            assert page.rows  # none follows the last row
            found += [(row.event.at, row.id) for row in page.rows]
            after = page.next
        assert len(set(found)) == len(found) == number, wanted
        assert found == sorted(found, reverse=True)
    assert (await audit_page(connection, AuditFilter(), limit=0))[1:] == ((), None)


async def test_names_are_looked_up_by_index(connection: Connection) -> None:
    await connection.execute("ANALYZE embedding_audit_logs")  # of nothing
    await connection.execute(FILL)
    for _ in range(2):
        for begins, number in (("c4ca4238a0", 1), ("c4", 2), ("c", 2), ("000000ffff", 0)):
            async with at_most(connection, 30):
                found = await logged_tasks(connection, begins)
            assert len(set(found)) == number
            assert all(task.hex.startswith(begins) for task in found)
        async with at_most(connection, 30):
            await require_operation(connection, "3")
        for unknown in ("root", "", "33", "2a"):
            async with at_most(connection, 30):
                with pytest.raises(EmbedqError):
                    await require_operation(connection, unknown)
        await connection.execute("ANALYZE embedding_audit_logs")


async def test_following_reads_what_is_near(connection: Connection) -> None:
    await connection.execute(FILL)
    tail = AuditTail(AuditFilter(), late=timedelta(seconds=1))
    assert [rows async for rows in tail.news(connection)] == []
    async with at_most(connection, 30):  # not none: transactions of other databases move the snapshot too
        assert [rows async for rows in tail.news(connection)] == []
    await connection.execute(
        "INSERT INTO embedding_audit_logs (level, category, message) VALUES ('info', 'performance', 'new')"
    )
    async with at_most(connection, 30):
        ((row,),) = [rows async for rows in tail.news(connection)]
    assert row.event.message == "new"
