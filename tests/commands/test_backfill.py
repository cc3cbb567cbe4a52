"""`embedq-tui backfill`: plan, ask, queue, tell, take back."""

from __future__ import annotations

from uuid import uuid4

from embedq_worker.errors import ExitCode
from tests.commands.actors import MODEL, embed, start_worker
from tests.commands.running import Tui
from tests.support.content import add_articles, statuses
from tests.support.databases import Connection


async def damage(connection: Connection) -> None:
    """Two articles without embeddings, one embedded by another model, one that is to have none, one right."""
    articles = await add_articles(connection, ["some text"] * 5)
    await embed(connection, articles[2], model="x/other")
    await embed(connection, articles[3])
    await connection.execute("UPDATE articles SET no_rag = true WHERE id = $1", articles[3])
    await embed(connection, articles[4])


async def test_a_dry_run_only_tells(tui: Tui, connection: Connection) -> None:
    await damage(connection)
    answer = await tui("backfill", "--dry-run", "--json")
    assert answer.code == ExitCode.OK
    document = answer.document("backfill")
    assert {name: found["to_queue"] for name, found in document["categories"].items()} == {
        "missing": 2,
        "failed": 0,
        "stale": 0,
        "model": 1,
        "no_rag": 1,
    }
    assert (document["to_queue"], document["queued"], document["state"]) == (4, 0, "planned")
    assert "To queue: 4 tasks" in (await tui("backfill", "--dry-run")).out
    assert await statuses(connection) == {}


async def test_it_asks_before_it_queues(tui: Tui, connection: Connection) -> None:
    await damage(connection)
    answer = await tui("backfill")
    assert answer.code == ExitCode.NO
    assert "--yes" in answer.err
    assert await statuses(connection) == {}


async def test_what_is_queued_is_queued_once(tui: Tui, connection: Connection) -> None:
    await damage(connection)
    answer = await tui("backfill", "--yes", "--json", "--batch-size", "2", "--priority", "normal")
    assert answer.code == ExitCode.OK
    document = answer.document("backfill")
    assert (document["queued"], document["state"], document["resumed"]) == (4, "done", False)
    assert await connection.fetchval("SELECT count(*) FROM embedding_tasks WHERE priority = 'normal'") == 4
    again = (await tui("backfill", "--yes", "--json")).document("backfill")
    assert (again["to_queue"], again["queued"], again["operation_id"]) == (0, 0, None)
    assert again["categories"]["missing"] == {"to_queue": 0, "waiting": 2, "chunks": 0}


async def test_workers_that_embed_with_another_model_are_named(tui: Tui, connection: Connection) -> None:
    await damage(connection)
    tui.variables["EMBEDDING_MODEL"] = "a model"
    await start_worker(connection)
    await connection.execute("UPDATE embedq_workers SET provider = 'openai/a model http://provider.test/v1'")
    assert "Warning" not in (await tui("backfill", "--dry-run")).out
    await connection.execute("UPDATE embedq_workers SET provider = 'x/another model http://provider.test/v1'")
    assert "Warning: running workers embed with x/another model:" in (await tui("backfill", "--dry-run")).out


async def test_only_some(tui: Tui, connection: Connection) -> None:
    await damage(connection)
    answer = await tui("backfill", "--yes", "--json", "--only", "model, no-rag")
    assert answer.document("backfill")["queued"] == 2
    rows = await connection.fetch("SELECT operation FROM embedding_tasks WHERE status = 'pending' ORDER BY 1")
    assert [row["operation"] for row in rows] == ["delete", "update"]
    assert (await tui("backfill", "--only", "everything")).code == ExitCode.USAGE
    assert (await tui("backfill", "--only", ",")).code == ExitCode.USAGE


async def test_only_a_folder_and_what_is_called_so(tui: Tui, connection: Connection) -> None:
    await add_articles(connection, ["Text."] * 3)
    inside = [
        *await add_articles(connection, ["Text."], slug="inside", folder="/guides/"),
        *await add_articles(connection, ["Text."] * 2, slug="below", folder="guides/start"),
    ]
    await add_articles(connection, ["Text."], slug="beside", folder="guidesx")
    planned = (await tui("backfill", "--dry-run", "--json", "--folder", "guides")).document("backfill")
    assert (planned["articles"], planned["to_queue"]) == (3, 3)
    narrow = ("--folder", "guides/", "--text", "BELOW", "--batch-size", "2", "--yes", "--json")
    assert (await tui("backfill", *narrow)).document("backfill")["queued"] == 2
    status = (await tui("backfill", "status", "--json")).document("backfill-status")
    assert (status["filter"]["folder"], status["filter"]["text"]) == ("guides", "BELOW")
    queued = (await tui("backfill", "--folder", "guides", "--yes", "--json")).document("backfill")
    assert (queued["queued"], queued["resumed"]) == (1, False)
    rows = await connection.fetch("SELECT article_id FROM embedding_tasks ORDER BY 1")
    assert [row["article_id"] for row in rows] == inside
    assert (await tui("backfill", "--folder", "/")).code == ExitCode.USAGE


async def test_status_and_rollback(tui: Tui, connection: Connection) -> None:
    answer = await tui("backfill", "status")
    assert (answer.code, answer.out) == (ExitCode.NO, "")
    assert (await tui("backfill", "rollback")).code == ExitCode.NO

    await damage(connection)
    queued = (await tui("backfill", "--yes", "--json")).document("backfill")
    status = (await tui("backfill", "status", "--json")).document("backfill-status")
    assert status["id"] == queued["operation_id"]
    assert status["tasks"] == {"pending": 4}
    assert "pending" in (await tui("backfill", "status", status["id"])).out
    assert (await tui("backfill", "status", str(uuid4()))).code == ExitCode.NO
    assert (await tui("backfill", "status", "last")).code == ExitCode.USAGE

    assert (await tui("backfill", "rollback")).code == ExitCode.NO
    assert (await statuses(connection))["pending"] == 4
    answer = await tui("backfill", "rollback", "--yes", "--json", status["id"])
    assert answer.document("backfill-rollback") == {"operation_id": status["id"], "removed": 4}
    assert await statuses(connection) == {}
    status = (await tui("backfill", "status", "--json")).document("backfill-status")
    assert status["state"] == "rolled_back"


async def test_the_last_one_is_meant_unless_another_is_given(tui: Tui, connection: Connection) -> None:
    await damage(connection)
    first, last = [
        (await tui("backfill", "--yes", "--json", "--only", category)).document("backfill")["operation_id"]
        for category in ("model", "missing")
    ]
    for given, operation in (((), last), ((first,), first)):
        status = (await tui("backfill", "status", "--json", *given)).document("backfill-status")
        assert status["id"] == operation
    removed = (await tui("backfill", "rollback", "--yes", "--json")).document("backfill-rollback")
    assert removed == {"operation_id": last, "removed": 2}
    assert await statuses(connection) == {"pending": 1}


async def test_workers_that_embed_with_another_model_are_told_of_before_anything_is_queued(
    tui: Tui, connection: Connection
) -> None:
    await damage(connection)
    worker = await start_worker(connection)
    for provider, told in ((f"{MODEL} http://here", False), ("openai/other http://here", True)):
        await connection.execute("UPDATE embedq_workers SET provider = $2 WHERE id = $1", worker, provider)
        out = (await tui("backfill", "--dry-run")).out
        assert ("openai/other" in out) is told
        assert (out.count(MODEL) > 1) is told  # who embeds with this one need not begin again
    await connection.execute("UPDATE embedq_workers SET state = 'dead'")
    assert "openai/other" not in (await tui("backfill", "--dry-run")).out
