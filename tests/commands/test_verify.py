"""`embedq-tui verify`: whether what is kept is what is there, and what repairs it."""

from __future__ import annotations

from typing import Any

from embedq_worker.errors import ExitCode
from tests.commands.actors import embed
from tests.commands.running import Tui
from tests.support.content import add_articles, queue_tasks, queued_articles
from tests.support.databases import Connection


async def verified(tui: Tui, *arguments: str) -> tuple[int, Any]:
    answer = await tui("verify", "--json", *arguments)
    return answer.code, answer.document("verify")


def counts(document: Any) -> dict[str, tuple[int, int]]:
    return {finding["code"]: (finding["count"], finding["waiting"]) for finding in document["findings"]}


async def test_everything_is_right(tui: Tui, connection: Connection) -> None:
    for article in await queued_articles(connection, 3):
        await embed(connection, article)
    code, document = await verified(tui)
    assert (code, document["ok"], document["drift"], document["findings"]) == (ExitCode.OK, True, [], [])
    assert document["articles"] == 3
    answer = await tui("verify")
    assert (answer.code, answer.err) == (ExitCode.OK, "")


async def test_drift_is_found_and_repaired(tui: Tui, connection: Connection) -> None:
    await connection.execute(
        "INSERT INTO embedding_tasks (operation) SELECT 'delete' FROM generate_series(1, 3)"
    )
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")  # no trigger sees this
        await connection.execute(
            "DELETE FROM embedding_tasks WHERE id = (SELECT id FROM embedding_tasks LIMIT 1)"
        )
    code, document = await verified(tui)
    assert code == ExitCode.NO
    assert document["drift"] == [
        {"status": "pending", "priority": "normal", "group": "", "kept": 3, "counted": 2}
    ]
    assert "verify --repair" in (await tui("verify")).out

    code, document = await verified(tui, "--repair")
    assert (code, document["repaired"]) == (ExitCode.OK, True)
    assert len(document["drift"]) == 1
    noted = (
        "SELECT metadata ->> 'count' FROM embedding_audit_logs WHERE message = 'Operator: counts repaired'"
    )
    assert [row[0] for row in await connection.fetch(noted)] == ["1"]
    code, document = await verified(tui, "--repair")
    assert (code, document["repaired"], document["drift"]) == (ExitCode.OK, False, [])
    assert len(await connection.fetch(noted)) == 1
    assert (await tui("status", "--json")).document("status")["queue"]["pending"] == 2


async def test_what_another_worker_left(tui: Tui, connection: Connection) -> None:
    articles = await add_articles(connection, ["text"] * 7)
    missing, stale, other_model, unknown_model, hidden, right, waiting = articles
    await queue_tasks(connection, articles[:6])
    await connection.execute(
        "UPDATE embedding_tasks SET status = 'completed', completed_at = now(), processed_at = now()"
    )
    for article in articles[1:6]:
        await embed(connection, article)
    await connection.execute("UPDATE articles SET content = 'other' WHERE id = $1", stale)
    await connection.execute("UPDATE embeddings SET model = 'x/y' WHERE article_id = $1", other_model)
    await connection.execute("UPDATE embeddings SET model = NULL WHERE article_id = $1", unknown_model)
    await connection.execute("UPDATE articles SET no_rag = true WHERE id = $1", hidden)
    await queue_tasks(connection, [waiting])
    code, document = await verified(tui)
    assert code == ExitCode.NO
    assert counts(document) == {"missing": (1, 1), "stale": (1, 0), "model": (2, 0), "no_rag": (1, 0)}
    assert missing != right
    text = (await tui("verify")).out
    assert "embedq-tui backfill --only no-rag" in text


async def test_failed_rows_with_too_many_attempts(tui: Tui, connection: Connection) -> None:
    await queued_articles(connection, 2)
    await connection.execute(
        "UPDATE embedding_tasks SET status = 'failed', attempts = 4, completed_at = now()"
    )
    code, document = await verified(tui)
    assert code == ExitCode.NO
    assert counts(document) == {"failed": (2, 0), "overspent": (2, 0)}
    await connection.execute("UPDATE embedding_tasks SET attempts = max_attempts")  # as many as allowed
    assert "overspent" not in counts((await verified(tui))[1])


async def test_what_it_says_of_too_many_attempts_mends_them(tui: Tui, connection: Connection) -> None:
    for article in await queued_articles(connection, 2):
        await embed(connection, article)
    await connection.execute(
        "UPDATE embedding_tasks SET status = 'failed', attempts = 4, completed_at = now()"
    )
    _, document = await verified(tui)
    assert counts(document) == {"overspent": (2, 0)}
    lines = (await tui("verify")).out.splitlines()
    (advice,) = (line.partition("run: embedq-tui ")[2] for line in lines if "run: embedq-tui " in line)
    assert (await tui(*advice.split())).code == ExitCode.OK
    _, document = await verified(tui)
    assert "overspent" not in counts(document)


async def test_what_was_given_up_or_cannot_be_retried_is_no_damage(tui: Tui, connection: Connection) -> None:
    for article in await queued_articles(connection, 2):
        await embed(connection, article)
    await connection.execute(
        """INSERT INTO embedding_tasks (id, article_id, operation, status, attempts, created_at)
           SELECT embedq_uuid(), article_id, 'delete', 'failed', 4, created_at - interval '1 hour'
           FROM embedding_tasks"""
    )
    assert (await tui("retry", "--failed")).code == ExitCode.NO
    assert counts((await verified(tui))[1]) == {}
    await connection.execute(
        """UPDATE embedding_tasks SET operation = 'update', created_at = now() WHERE operation = 'delete'"""
    )
    assert counts((await verified(tui))[1]) == {"overspent": (2, 0)}
    assert (await tui("cancel", "--failed", "--yes")).code == ExitCode.OK
    assert counts((await verified(tui))[1]) == {}


async def test_what_is_queued_is_no_damage(tui: Tui, connection: Connection) -> None:
    await queued_articles(connection, 2)
    code, document = await verified(tui)
    assert code == ExitCode.OK
    assert counts(document) == {"missing": (0, 2)}


async def test_a_trigger_that_was_switched_off(tui: Tui, connection: Connection) -> None:
    await connection.execute("ALTER TABLE embedding_tasks DISABLE TRIGGER embedq_count_insert")
    code, document = await verified(tui)
    assert code == ExitCode.NO
    assert [problem["code"] for problem in document["schema"]] == ["disabled"]


async def test_an_old_schema(bare_tui: Tui) -> None:
    answer = await bare_tui("verify")
    assert answer.code == ExitCode.NO
    assert "--migrate" in answer.err
