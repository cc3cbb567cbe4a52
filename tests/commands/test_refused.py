"""What is not confirmed is refused: nothing changes, and --json says so in the shape of the answer."""

from __future__ import annotations

from typing import Any

import pytest

from embedq_worker.errors import ExitCode
from tests.commands.running import Tui
from tests.support.content import add_articles, queued_articles, statuses
from tests.support.databases import Connection

REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "clear": ("action", {"state": "refused", "changed": 0}),
    "cancel --priority normal": ("action", {"state": "refused", "changed": 0}),
    "cleanup --days 1": ("cleanup", {"state": "refused"}),
    "backfill": ("backfill", {"state": "refused", "queued": 0, "operation_id": None}),
    "backfill rollback": ("backfill-rollback", {"removed": 0}),
    "migrate rollback --to 1": ("migrate-rollback", {"taken_back": []}),
}


@pytest.mark.parametrize("line", REFUSED)
async def test_what_is_refused_is_an_answer(tui: Tui, connection: Connection, line: str) -> None:
    await add_articles(connection, ["some text"] * 2, slug="backfilled")
    assert (await tui("backfill", "--yes")).code == ExitCode.OK
    await add_articles(connection, ["some text"] * 2, slug="not-yet")
    await queued_articles(connection, 3)
    await connection.execute(
        """INSERT INTO embedding_tasks (slug, operation, status, completed_at)
           VALUES ('old', 'update', 'completed', now() - interval '9 days')"""
    )
    before = await statuses(connection)
    shape, expected = REFUSED[line]
    answer = await tui(*line.split(), "--json")
    assert answer.code == ExitCode.NO
    document = answer.document(shape)
    assert {key: document[key] for key in expected} == expected
    text = await tui(*line.split())
    assert (text.code, text.out.splitlines()[-1].split()[0]) == (ExitCode.NO, "Nothing")
    assert await statuses(connection) == before
