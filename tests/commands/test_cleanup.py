"""`cleanup`: what is told, what is done, exit codes."""

from __future__ import annotations

import json

from embedq_worker.database.locks import LOCK_CLASS
from embedq_worker.errors import ExitCode
from tests.commands.running import Tui
from tests.support.content import statuses
from tests.support.databases import Connection


async def test_cleanup(tui: Tui, connection: Connection) -> None:
    await connection.execute(
        """INSERT INTO embedding_tasks (operation, status, completed_at)
           SELECT 'update', s.name, now() - n * interval '10 days'
           FROM generate_series(1, 6) n, unnest('{completed,failed}'::text[]) AS s(name);
           INSERT INTO embedding_audit_logs (level, category, message, timestamp)
           SELECT 'info', 'performance', 'm', now() - n * interval '10 days' FROM generate_series(1, 5) n"""
    )
    answer = await tui("cleanup")
    assert answer.code == ExitCode.NO
    assert "--yes" in answer.err
    refused = (await tui("cleanup", "--json")).document("cleanup")
    assert (refused["days"], refused["state"], refused["found"]["tasks"]) == (30, "refused", 4)
    done = (await tui("cleanup", "--days", "45", "--yes", "--json")).document("cleanup")
    assert done["state"] == "done"
    assert done["deleted"] == {"tasks": 2, "audit_rows": 1, "metrics": 0, "workers": 0}
    assert await statuses(connection) == {"completed": 4, "failed": 6}
    assert (await tui("cleanup", "--days", "45", "--yes", "--json")).document("cleanup")["state"] == "nothing"
    [noted] = await connection.fetch("SELECT * FROM embedding_audit_logs WHERE message LIKE 'Operator%'")
    found = {"days": 45, "count": 3, "tasks": 2, "audit_rows": 1, "metrics": 0, "workers": 0}
    assert json.loads(noted["metadata"]).items() >= found.items()


async def test_cleanup_leaves_it_to_a_worker_that_is_at_it(tui: Tui, connection: Connection) -> None:
    await connection.execute(
        """INSERT INTO embedding_tasks (operation, status, completed_at)
           VALUES ('update', 'completed', now() - interval '60 days')"""
    )
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1, -5)", LOCK_CLASS)
        told = (await tui("cleanup", "--yes", "--json")).document("cleanup")
    assert (told["state"], told["found"]["tasks"], told["deleted"]["tasks"]) == ("busy", 1, 0)
    assert await statuses(connection) == {"completed": 1}


async def test_cleanup_tells_what_another_table_holds(tui: Tui, connection: Connection) -> None:
    await connection.execute(
        """INSERT INTO embedding_tasks (operation, status, completed_at)
           SELECT 'update', 'completed', now() - n * interval '60 days' FROM generate_series(1, 3) n;
           CREATE TABLE notes (task uuid REFERENCES embedding_tasks (id));
           INSERT INTO notes SELECT id FROM embedding_tasks ORDER BY completed_at LIMIT 1"""
    )
    answer = await tui("cleanup", "--yes", "--json")
    assert answer.code == ExitCode.NO
    assert "notes" in answer.complaint[0]
    told = json.loads(answer.out)
    assert (told["state"], told["found"]["tasks"], told["deleted"]["tasks"]) == ("held", 3, 2)
    assert await statuses(connection) == {"completed": 1}
