"""Commands that are broken off tell what they had done, and go on when they are run again."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from embedq_worker.errors import INTERRUPTED, ExitCode
from tests.commands.running import Tui
from tests.support.blocking import until_any_blocked
from tests.support.databases import Connection
from tests.support.sessions import doom


async def told(tui: Tui, *arguments: str | Path, shape: str) -> Any:
    """What a command tells that is broken off."""
    answer = await tui(*arguments, "--json")
    assert answer.code == ExitCode.UNREACHABLE
    assert 1 <= len(answer.complaint) <= 2
    return answer.document(shape)


async def articles(connection: Connection, count: int) -> None:
    await connection.execute(
        """INSERT INTO articles (title, slug, content)
           SELECT 'Title', 'article-' || n, 'Text.' FROM generate_series(1, $1) AS n""",
        count,
    )


async def tasks(connection: Connection, status: str, count: int) -> None:
    await connection.execute(
        """INSERT INTO embedding_tasks (slug, operation, status)
           SELECT 'slug', 'update', $1 FROM generate_series(1, $2::int)""",
        status,
        count,
    )


async def test_retry(tui: Tui, connection: Connection) -> None:
    await tasks(connection, "failed", 2_500)
    await doom(connection, "UPDATE", "embedding_tasks")
    found = await told(tui, "retry", "--failed", shape="action")
    assert (found["state"], found["changed"], found["matched"]) == ("interrupted", 1_000, 2_500)
    assert found["operation_id"] is not None
    assert (await tui("retry", "--failed")).code == ExitCode.UNREACHABLE


async def test_undo(tui: Tui, connection: Connection) -> None:
    await tasks(connection, "pending", 1_500)
    cleared = (await tui("clear", "--confirm", "--json")).document("action")
    await doom(connection, "UPDATE", "embedding_tasks")
    found = await told(tui, "undo", cleared["operation_id"], shape="undo")
    assert (found["changed"], found["kept"]) == (1_000, 0)
    await connection.execute("DROP TRIGGER doom ON embedding_tasks")
    assert (await tui("undo", cleared["operation_id"], "--json")).document("undo")["changed"] == 500


async def test_backfill(tui: Tui, connection: Connection) -> None:
    await articles(connection, 25)
    await doom(connection, "INSERT", "embedding_tasks", spared=2)
    found = await told(tui, "backfill", "--yes", "--batch-size", "10", shape="backfill")
    assert (found["state"], found["queued"], found["to_queue"]) == ("interrupted", 20, 25)
    assert await connection.fetchval("SELECT count(*) FROM embedding_tasks") == 20
    assert found["operation_id"] == str(
        await connection.fetchval("SELECT id FROM embedq_bulk_operations WHERE state = 'running'")
    )
    # Nobody heard of it for a while: it is taken for dead, and gone on with.
    await connection.execute("DROP TRIGGER doom ON embedding_tasks")
    await connection.execute("UPDATE embedq_bulk_operations SET updated_at = now() - interval '1 hour'")
    again = (await tui("backfill", "--yes", "--json")).document("backfill")
    assert (again["state"], again["queued"], again["operation_id"]) == ("done", 5, found["operation_id"])


async def test_backfill_rollback(tui: Tui, connection: Connection) -> None:
    await articles(connection, 1_500)
    queued = (await tui("backfill", "--yes", "--json")).document("backfill")
    await doom(connection, "DELETE", "embedding_tasks")
    found = await told(tui, "backfill", "rollback", "--yes", shape="backfill-rollback")
    assert found == {"operation_id": queued["operation_id"], "removed": 1_000}
    await connection.execute("DROP TRIGGER doom ON embedding_tasks")
    answer = await tui("backfill", "rollback", "--yes", "--json")
    assert answer.document("backfill-rollback")["removed"] == 500


async def test_cleanup(tui: Tui, connection: Connection) -> None:
    await tasks(connection, "completed", 3)
    await connection.execute("UPDATE embedding_tasks SET completed_at = now() - interval '99 days'")
    await connection.execute(
        """INSERT INTO embedding_audit_logs (timestamp, level, category, message)
           VALUES (now() - interval '99 days', 'info', 'worker_status', 'old')"""
    )
    await doom(connection, "DELETE", "embedding_audit_logs", spared=0)
    found = await told(tui, "cleanup", "--yes", shape="cleanup")
    assert (found["state"], found["deleted"]["tasks"], found["deleted"]["audit_rows"]) == (
        "interrupted",
        3,
        0,
    )
    assert found["found"]["audit_rows"] == 1


async def test_import(tui: Tui, connection: Connection, tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    for number in range(600):
        (tmp_path / "library" / f"page-{number}.md").write_text("# Page\n\nText.\n")
    await doom(connection, "INSERT", "embedding_tasks")
    found = await told(tui, "import", tmp_path / "library", shape="import")
    assert (found["created"], found["queued"]) == (500, 500)
    assert await connection.fetchval("SELECT count(*) FROM articles") == 500
    await connection.execute("DROP TRIGGER doom ON embedding_tasks")
    again = (await tui("import", tmp_path / "library", "--json")).document("import")
    assert (again["created"], again["unchanged"]) == (100, 500)


async def test_ctrl_c(tui: Tui, connection: Connection) -> None:
    async def interrupted(*arguments: str) -> Any:
        async with connection.transaction():
            await connection.execute("LOCK TABLE embedding_tasks IN SHARE MODE")
            process = await tui.start(*arguments, "--json")
            await until_any_blocked(connection, within_s=30)
            process.send_signal(signal.SIGINT)
        out, _ = await process.communicate()
        assert process.returncode == INTERRUPTED
        return json.loads(out)

    await articles(connection, 3)
    assert (await interrupted("backfill", "--yes"))["queued"] == 3
    assert (await interrupted("backfill", "rollback", "--yes"))["removed"] == 3
    await tasks(connection, "pending", 3)
    cleared = (await tui("clear", "--confirm", "--json")).document("action")
    assert (await interrupted("undo", cleared["operation_id"]))["changed"] == 3
