"""`embedq-tui health` as cron, monitoring and operators read it."""

from __future__ import annotations

import re

import pytest

from embedq_worker.errors import ExitCode
from tests.commands.actors import embed, start_worker
from tests.commands.running import Tui
from tests.support.content import add_articles, failed_tasks, queue_tasks, queued_articles
from tests.support.databases import Connection

PLUGIN_LINE = re.compile(r"[^|\n]+ \| (\w+=[\d.]+s?(;[\d.]+)?)( \w+=[\d.]+s?(;[\d.]+)?)*\n")
"""What the guidelines for monitoring plugins ask for: text, a bar, performance data."""


async def test_healthy(tui: Tui, connection: Connection) -> None:
    await start_worker(connection)
    answer = await tui("health")
    assert (answer.code, answer.err) == (ExitCode.OK, "")
    assert answer.out.startswith("OK: ")
    document = (await tui("health", "--json")).document("health")
    assert (document["healthy"], document["issues"]) == (True, [])


async def test_unhealthy(tui: Tui, connection: Connection) -> None:
    await queued_articles(connection, 3)
    answer = await tui("health", "--max-backlog", "2")
    assert (answer.code, answer.err) == (ExitCode.NO, "")
    assert answer.out.splitlines()[0] == "UNHEALTHY: no_worker, backlog"
    answer = await tui("health", "--json", EMBEDDING_HEALTH_BACKLOG=2)
    assert answer.code == ExitCode.NO
    document = answer.document("health")
    assert document["healthy"] is False
    backlog = next(issue for issue in document["issues"] if issue["code"] == "backlog")
    assert (backlog["measured"], backlog["threshold"], backlog["unit"]) == (3, 2, "tasks")


async def test_a_flag_wins_over_the_environment(tui: Tui, connection: Connection) -> None:
    await start_worker(connection)
    await queued_articles(connection, 3)
    assert (await tui("health", EMBEDDING_HEALTH_BACKLOG=2)).code == ExitCode.NO
    assert (await tui("health", "--max-backlog", "3", EMBEDDING_HEALTH_BACKLOG=2)).code == ExitCode.OK


async def test_what_is_ignored_is_no_issue(tui: Tui, connection: Connection) -> None:
    await queued_articles(connection, 3)
    await connection.execute("SELECT embedq_command('pause', 'ann@ops')")
    answer = await tui("health", "--ignore", "paused", "--json")
    assert [issue["code"] for issue in answer.document("health")["issues"]] == ["no_worker"]
    assert (await tui("health", "--ignore", "paused", "--ignore", "no_worker")).code == ExitCode.OK


async def test_a_monitoring_plugins_line(tui: Tui, connection: Connection) -> None:
    await start_worker(connection)
    answer = await tui("health", "--nagios")
    assert answer.code == ExitCode.OK
    assert PLUGIN_LINE.fullmatch(answer.out)
    await connection.execute("SELECT embedq_command('stop', E'a|b\\n\\x1b[2J')")
    answer = await tui("health", "--nagios")
    assert answer.code == ExitCode.NO
    assert answer.out.startswith("UNHEALTHY: ")
    assert PLUGIN_LINE.fullmatch(answer.out)
    assert not re.search("[\x00-\x09\x0b-\x1f]", answer.out)


async def test_a_monitoring_plugins_line_where_the_database_is_not_reached(anywhere: Tui) -> None:
    answer = await anywhere("health", "--nagios")
    assert answer.code == ExitCode.UNREACHABLE  # which such a plugin calls unknown
    assert answer.out.startswith("UNKNOWN: ")
    assert len(answer.out.splitlines()) == 1
    assert answer.err


async def test_a_code_is_named_once(tui: Tui, connection: Connection) -> None:
    await connection.execute("UPDATE embedq_migrations SET checksum = 'x' WHERE version IN (5, 6)")
    answer = await tui("health", "--deep", "--ignore", "no_worker")
    assert answer.out.splitlines()[0] == "UNHEALTHY: schema"


async def test_the_deep_look_finds_what_others_left(tui: Tui, connection: Connection) -> None:
    done, lost = await add_articles(connection, ["one", "two"])
    await embed(connection, done)
    assert lost
    await connection.execute("INSERT INTO embedq_count_deltas VALUES ('completed', 'low', 5)")
    assert (await tui("health")).code == ExitCode.OK
    answer = await tui("health", "--deep", "--json")
    assert answer.code == ExitCode.NO
    issues = {issue["code"]: issue["measured"] for issue in answer.document("health")["issues"]}
    assert issues == {"count_drift": 5, "articles_missing": 1}


async def test_all_that_only_the_deep_look_finds_can_be_ignored(tui: Tui, connection: Connection) -> None:
    hidden, stale, other, _, failing = await add_articles(connection, ["text"] * 5)
    for article in (hidden, stale, other):
        await embed(connection, article)
    await connection.execute("UPDATE articles SET no_rag = true WHERE id = $1", hidden)
    await connection.execute("UPDATE articles SET content = 'other' WHERE id = $1", stale)
    await connection.execute("UPDATE embeddings SET model = 'x/y' WHERE article_id = $1", other)
    await queue_tasks(connection, [failing])
    await connection.execute(
        "UPDATE embedding_tasks SET status = 'failed', attempts = 4, completed_at = now() "
        "WHERE status = 'pending'"
    )
    document = (await tui("health", "--deep", "--json")).document("health")
    codes = [issue["code"] for issue in document["issues"]]
    assert len(codes) == 6
    ignored = [word for code in codes for word in ("--ignore", code)]
    assert (await tui("health", "--deep", *ignored)).code == ExitCode.OK


async def test_a_database_without_a_queue(bare_tui: Tui) -> None:
    answer = await bare_tui("health", "--json")
    assert answer.code == ExitCode.NO
    document = answer.document("health")
    assert [issue["code"] for issue in document["issues"]] == ["schema"]
    assert document["measures"] == []
    assert (await bare_tui("health", "--nagios")).out.startswith("UNHEALTHY: ")


async def test_an_unreachable_database(anywhere: Tui) -> None:
    answer = await anywhere("health")
    assert (answer.code, answer.out) == (ExitCode.UNREACHABLE, "")


@pytest.mark.parametrize("flag", ["--max-backlog", "--max-failure-rate", "--max-stall"])
async def test_a_threshold_out_of_range(anywhere: Tui, flag: str) -> None:
    answer = await anywhere("health", flag, "-1")
    assert answer.code == ExitCode.USAGE
    assert "EMBEDDING_HEALTH_" in answer.err


@pytest.mark.parametrize(
    ("behind_the_triggers", "wrong"),
    [
        ("DELETE FROM embedding_tasks", ["failed normal", "failed group"]),
        ("UPDATE embedding_tasks SET status = 'completed'", ["completed normal", "failed normal"]),
    ],
    ids=["lost", "changed"],
)
async def test_each_task_that_is_counted_wrongly_is_one_and_what_is_wrong_is_said(
    tui: Tui, connection: Connection, behind_the_triggers: str, wrong: list[str]
) -> None:
    await failed_tasks(connection, 25)
    await connection.execute(f"SET session_replication_role = replica; {behind_the_triggers}")
    answer = await tui("health", "--deep", "--json")
    (issue,) = (each for each in answer.document("health")["issues"] if each["code"] == "count_drift")
    assert (issue["measured"], issue["unit"]) == (25, "tasks")
    for what in wrong:
        assert what in issue["message"]
