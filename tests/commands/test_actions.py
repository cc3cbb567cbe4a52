"""`retry`, `cancel`, `clear`, `reset-stuck`: what is told, what is done, exit codes."""

from __future__ import annotations

import signal
from pathlib import Path
from uuid import uuid4

import pytest

from embedq_worker.errors import INTERRUPTED, ExitCode
from embedq_worker.schema.task_values import CANCELLED
from tests.commands.actors import start_worker
from tests.commands.running import Tui, act
from tests.support.blocking import until_any_blocked
from tests.support.content import failed_tasks, queued_articles, statuses
from tests.support.databases import Connection, Database

NOBODYS = "00000000-0000-4000-8000-000000000000"
"""Id of no task; the same in every process of a run."""


# -- retry


async def test_retry_by_id_tells_what_was_not_failed(tui: Tui, connection: Connection) -> None:
    [failed] = await failed_tasks(connection, 1)
    await queued_articles(connection, 1)
    waiting = await connection.fetchval("SELECT id FROM embedding_tasks WHERE id <> $1", failed)
    unknown = uuid4()
    document = await act(tui, "retry", failed, waiting, unknown, failed, matched=1, changed=1, state="done")
    assert document["left_out"] == [
        {"id": str(waiting), "reason": "pending"},
        {"id": str(unknown), "reason": "unknown"},
    ]
    assert await statuses(connection) == {"pending": 2}
    answer = await tui("retry", str(failed))
    assert answer.code == ExitCode.NO
    assert str(failed) in answer.err
    await act(tui, "retry", failed, code=ExitCode.NO, matched=0, state="nothing")


async def test_a_task_that_another_session_has_locked_is_left_alone(tui: Tui, connection: Connection) -> None:
    [failed] = await failed_tasks(connection, 1)
    async with connection.transaction():
        await connection.execute("SELECT FROM embedding_tasks FOR UPDATE")
        document = await act(tui, "retry", failed, code=ExitCode.NO, matched=1, changed=0)
    assert document["left_out"] == [{"id": str(failed), "reason": "busy"}]


async def test_a_dry_run_counts_and_changes_nothing(tui: Tui, connection: Connection) -> None:
    failed = await failed_tasks(connection, 3)
    await queued_articles(connection, 2)
    for line, matched in (
        (["retry", "--failed"], 3),
        (["retry", "--failed", "--staged", "--error", "boom"], 3),
        (["retry", *failed[:2]], 2),
        (["cancel", "--failed"], 3),
        (["cancel", "--slug", "article"], 2),
        (["priority", "low", "--slug", "article-1"], 1),
    ):
        await act(tui, *line, "--dry-run", state="planned", matched=matched, changed=0)
        assert str(matched) in (await tui(*map(str, line), "--dry-run")).out
    await act(tui, "retry", "--failed", "--error", "x", "--dry-run", code=ExitCode.NO, state="nothing")
    await act(tui, "reset-stuck", "--dry-run", state="nothing")
    assert await statuses(connection) == {"failed": 3, "pending": 2}
    assert (
        await connection.fetchval("SELECT count(*) FROM embedding_audit_logs WHERE metadata ? 'action'") == 0
    )


async def test_retry_of_what_waits_for_its_next_attempt(tui: Tui, connection: Connection) -> None:
    await failed_tasks(connection, 1)
    await queued_articles(connection, 4)
    later = await connection.fetch(
        """UPDATE embedding_tasks SET scheduled_at = now() + interval '1 hour', attempts = 1
           WHERE slug IN ('article-0', 'article-1', 'article-2') RETURNING id"""
    )
    await act(tui, "retry", later[0]["id"], code=ExitCode.NO, state="nothing")
    await act(tui, "retry", "--waiting", later[0]["id"], matched=1, changed=1)
    await act(tui, "retry", "--waiting", "--slug", "article", action="retry", matched=2, changed=2)
    assert await connection.fetchval("SELECT max(scheduled_at) FROM embedding_tasks WHERE attempts = 0") <= (
        await connection.fetchval("SELECT now()")
    )
    assert await statuses(connection) == {"pending": 4, "failed": 1}
    await act(tui, "retry", "--waiting", code=ExitCode.NO, state="nothing")


async def test_times_of_a_filter_are_told_in_utc(tui: Tui) -> None:
    told = {"statuses": ["pending"], "since": "2025-12-31T18:15:00Z"}
    await act(
        tui, "cancel", "--since", "2026-01-01T00:00+05:45", code=ExitCode.NO, state="nothing", filter=told
    )


async def test_retry_of_a_group(tui: Tui, connection: Connection) -> None:
    await failed_tasks(connection, 3, "connect ECONNREFUSED 10.0.0.7:11434")
    await failed_tasks(connection, 2, 'model "m" not found')
    groups = (await tui("failed", "--json")).document("failed")["groups"]
    await act(tui, "retry", "--failed", "--group", groups[0]["fingerprint"], matched=3, changed=3, batches=1)
    assert await statuses(connection) == {"pending": 3, "failed": 2}
    await act(tui, "retry", "--failed", "--error", "nothing like it", code=ExitCode.NO, state="nothing")
    answer = await tui("retry", "--failed")
    assert answer.code == ExitCode.OK
    assert await statuses(connection) == {"pending": 5}


@pytest.mark.parametrize(
    "arguments",
    [
        ["retry"],
        ["retry", NOBODYS, "--failed"],
        ["retry", NOBODYS, "--priority", "low"],
        ["retry", "17"],
        ["retry", "--failed", "--group", "xyz"],
        ["retry", "--failed", "--since", "yesterday"],
        ["cancel"],
        ["priority", "high"],
        ["priority", "urgent", "--slug", "a"],
        ["undo", "it"],
        ["retry", "--failed", "--waiting"],
        ["retry", "--waiting", "--staged"],
        ["retry", "--waiting", "--group", "1a2b3c4d"],
        ["cancel", NOBODYS, "--priority", "low"],
        ["cancel", NOBODYS, "--status", "pending"],
        ["cancel", "--status", "failed"],
        ["cancel", "--failed", "--status", "pending"],
        ["cancel", "--failed", "--worker", "build-7/4711"],
        ["cancel", "--group", "1a2b3c4d"],
        ["cancel", "--error", "boom"],
        ["cancel", NOBODYS, "--stuck"],
        ["cancel", "--stuck", "--status", "processing"],
        ["cancel", "--failed", "--stuck"],
        ["cancel", "--priority", "low", "--minutes", "5"],
        ["cancel", NOBODYS, "--failed", "--error", "boom"],
        ["reset-stuck", "--minutes", "-1"],
        ["cleanup", "--days", "0"],
        ["list", "--after", "here"],
        ["list", "--status", "waiting"],
        ["list", "--folder", "/"],
        ["articles", "--state", "gone"],
        ["articles", "--after", "99999999999"],
        # Of variables that are not set: no filter, no database, no path is meant by them.
        ["cancel", "--slug", "", "--yes"],
        ["priority", "high", "--slug", ""],
        ["retry", "--failed", "--error", ""],
        ["retry", "--failed", "--group", ""],
        ["cancel", "--failed", "--error", "", "--yes"],
        ["clear", "--confirm", "--profile", ""],
        ["import", "", "--dry-run"],
        ["audit", "--text", ""],
        ["audit", "--limit", "0"],
        ["article", ""],
        ["queue", ""],
        ["probe", ""],
        ["audit", "--article", ""],
        ["search", "x", "--folder", ""],
        ["search", "x", "--folder", "/"],
        # Not UTF-8: no such text can be in the database.
        ["cancel", "--slug", "\udcff"],
        ["article", "\udcff"],
        ["queue", "1", "\udcff"],
        ["probe", "\udcff"],
        ["audit", "--article", "\udcff"],
        ["list", "--worker", "\udcff/1"],
        ["search", "\udcff"],
        ["search", "x", "--folder", "\udcff"],
        ["import", "docs", "--folder", "\udcff"],
        ["list", "--metadata", '{"a": "\\u0000"}'],
        ["list", "--metadata", '{"a": "\\ud800"}'],
        ["list", "--metadata", '{"a": NaN}'],
        ["list", "--metadata", '{"a": 1e999}'],
        ["metrics", "--prometheus", "--json"],
    ],
    ids=" ".join,
)
async def test_wrong_use(anywhere: Tui, arguments: list[str]) -> None:
    answer = await anywhere(*arguments)
    assert (answer.code, answer.out) == (ExitCode.USAGE, "")
    assert 1 <= len(answer.complaint) <= 2


# -- cancel and clear


async def test_cancel_by_id_reaches_a_task_in_hand(tui: Tui, connection: Connection) -> None:
    await queued_articles(connection, 3)
    held, waiting = [
        row["id"]
        for row in await connection.fetch("SELECT id FROM embedding_tasks ORDER BY scheduled_at LIMIT 2")
    ]
    await connection.execute("UPDATE embedding_tasks SET status = 'processing' WHERE id = $1", held)
    await act(tui, "cancel", held, waiting, changed=2, left_out=[])
    assert await statuses(connection) == {"failed": 2, "pending": 1}
    errors = await connection.fetchval("SELECT array_agg(DISTINCT error_message) FROM embedding_tasks")
    assert set(errors) == {None, CANCELLED}
    await act(
        tui, "cancel", held, code=ExitCode.NO, changed=0, left_out=[{"id": str(held), "reason": "failed"}]
    )


async def test_cancel_by_description_asks(tui: Tui, connection: Connection) -> None:
    await queued_articles(connection, 3, slug="a", priority="low")
    await queued_articles(connection, 2, slug="b", priority="high")
    await connection.execute("UPDATE embedding_tasks SET status = 'processing' WHERE slug = 'a-0'")
    await act(tui, "cancel", "--priority", "low", code=ExitCode.NO, state="refused", matched=2, changed=0)
    answer = await tui("cancel", "--priority", "low")
    assert answer.code == ExitCode.NO
    assert "2" in answer.out
    assert "--yes" in answer.err
    assert await statuses(connection) == {"pending": 4, "processing": 1}
    await act(tui, "cancel", "--priority", "low", "--yes", matched=2, changed=2)
    await act(tui, "cancel", "--status", "processing", "--yes", matched=1, changed=1)
    assert await statuses(connection) == {"failed": 3, "pending": 2}


async def test_stuck_tasks_are_cancelled_and_taken_back(tui: Tui, connection: Connection) -> None:
    await queued_articles(connection, 4)
    worker = await start_worker(connection)
    await connection.execute(
        """UPDATE embedding_tasks SET status = 'processing', worker_id = $1,
                  processed_at = now() - right(slug, 1)::int * interval '20 min' WHERE slug <> 'article-3'""",
        worker,
    )
    await act(tui, "cancel", "--stuck", code=ExitCode.NO, state="refused", matched=1, changed=0)
    await act(tui, "cancel", "--stuck", "--slug", "article-1", "--yes", code=ExitCode.NO, state="nothing")
    done = await act(tui, "cancel", "--stuck", "--minutes", 15, "--yes", matched=2, changed=2)
    assert await statuses(connection) == {"failed": 2, "processing": 1, "pending": 1}
    assert (await tui("undo", done["operation_id"])).code == ExitCode.OK
    assert await statuses(connection) == {"processing": 1, "pending": 3}


async def test_a_group_of_failures_is_cancelled_and_taken_back(tui: Tui, connection: Connection) -> None:
    await failed_tasks(connection, 3, "maximum context length is 8192 tokens")
    [timed_out] = await failed_tasks(connection, 1, "timed out")
    await queued_articles(connection, 1)
    group = (await tui("failed", "--json")).document("failed")["groups"][0]["fingerprint"]
    given_up = ("cancel", "--failed", "--group", group)
    await act(tui, *given_up, code=ExitCode.NO, state="refused", matched=3, changed=0)
    done = await act(tui, *given_up, "--yes", state="done", matched=3, changed=3)
    await act(tui, *given_up, "--yes", code=ExitCode.NO, state="nothing")
    await act(tui, "cancel", "--failed", timed_out, changed=1)
    assert await statuses(connection) == {"failed": 4, "pending": 1}
    [cancelled] = (await tui("failed", "--json")).document("failed")["groups"]
    assert cancelled["count"] == 4
    assert (await tui("undo", done["operation_id"])).code == ExitCode.OK
    first = (await tui("failed", "--json")).document("failed")["groups"][0]
    assert (first["fingerprint"], first["count"]) == (group, 3)


async def test_clear_refuses_without_its_flag_and_tells_the_number(tui: Tui, connection: Connection) -> None:
    await queued_articles(connection, 4)
    answer = await tui("clear")
    assert answer.code == ExitCode.NO
    assert "4" in answer.out
    assert "--confirm" in answer.err
    await act(tui, "clear", code=ExitCode.NO, state="refused", matched=4, changed=0)
    assert await statuses(connection) == {"pending": 4}
    await act(tui, "clear", "--confirm", state="done", changed=4)
    assert await statuses(connection) == {"failed": 4}
    await act(tui, "clear", "--confirm", state="nothing", matched=0)


async def test_what_was_done_is_undone(tui: Tui, connection: Connection) -> None:
    await queued_articles(connection, 3, slug="a", priority="low")
    await queued_articles(connection, 2, slug="b")
    raised = await act(tui, "priority", "high", "--slug", "a-", matched=3, changed=3)
    await act(tui, "priority", "high", "--slug", "a-", code=ExitCode.NO, state="nothing")
    task = await connection.fetchval("SELECT id FROM embedding_tasks WHERE slug = 'a-0'")
    await act(tui, "priority", "normal", task, changed=1)
    cleared = await act(tui, "clear", "--confirm", changed=5)
    await act(tui, "retry", task, changed=1)

    answer = await tui("undo", cleared["operation_id"], "--json")
    assert answer.code == ExitCode.OK
    undone = answer.document("undo")
    assert (undone["changed"], undone["kept"]) == (4, 1)
    assert await statuses(connection) == {"pending": 5}
    assert (await tui("undo", raised["operation_id"])).code == ExitCode.OK
    rows = await connection.fetch("SELECT priority FROM embedding_tasks ORDER BY slug")
    assert [row["priority"] for row in rows] == ["normal", "low", "low", "normal", "normal"]
    for again in (cleared["operation_id"], str(uuid4())):
        answer = await tui("undo", again, "--json")
        assert (answer.code, answer.document("undo")["changed"]) == (ExitCode.NO, 0)


async def test_reset_stuck_goes_by_age(tui: Tui, connection: Connection) -> None:
    await queued_articles(connection, 3)
    worker = await start_worker(connection)
    await connection.execute(
        """UPDATE embedding_tasks SET status = 'processing', worker_id = $1, attempts = 1,
                  processed_at = now() - right(slug, 1)::int * interval '20 min'""",
        worker,
    )
    await act(tui, "reset-stuck", matched=1, changed=1)
    assert (
        await connection.fetchval(
            """SELECT slug FROM embedding_tasks
           WHERE status = 'pending' AND processed_at IS NULL AND attempts = 1 AND worker_id IS NULL"""
        )
        == "article-2"
    )
    await act(tui, "reset-stuck", state="nothing")
    await act(tui, "reset-stuck", "--minutes", 25, state="nothing")
    await act(tui, "reset-stuck", "--minutes", 15, changed=1)
    await act(tui, "reset-stuck", "--minutes", 0, changed=1)


async def test_only_the_named_of_the_stuck_tasks_are_reset(tui: Tui, connection: Connection) -> None:
    await queued_articles(connection, 3)
    rows = await connection.fetch(
        """UPDATE embedding_tasks SET status = 'processing',
                  processed_at = now() - right(slug, 1)::int * interval '20 min' RETURNING id, slug"""
    )
    young, middle, old = [str(row["id"]) for row in sorted(rows, key=lambda row: str(row["slug"]))]
    for line, listed in ((["--minutes", "10"], [old, middle]), ([], [old])):
        document = (await tui("stuck", "--json", *line)).document("stuck")
        assert [task["id"] for task in document["tasks"]] == listed
    named = await act(tui, "reset-stuck", "--minutes", 10, young, middle, changed=1, state="done")
    assert [missed["id"] for missed in named["left_out"]] == [young]
    assert await statuses(connection) == {"processing": 2, "pending": 1}
    await act(tui, "reset-stuck", young, code=ExitCode.NO, changed=0, state="nothing")


async def test_reset_stuck_takes_what_a_silent_worker_holds(tui: Tui, connection: Connection) -> None:
    await queued_articles(connection, 2)
    silent, alive = await start_worker(connection), await start_worker(connection)
    await connection.execute(
        """UPDATE embedding_tasks
           SET status = 'processing', attempts = 1, processed_at = now(), claimed_at = now(),
               worker_id = CASE slug WHEN 'article-0' THEN $1::uuid ELSE $2::uuid END""",
        silent,
        alive,
    )
    await connection.execute(
        "UPDATE embedq_workers SET heartbeat_at = now() - interval '1 hour' WHERE id = $1", silent
    )
    await act(tui, "reset-stuck", matched=1, changed=1)
    assert (
        await connection.fetchval("SELECT slug FROM embedding_tasks WHERE status = 'pending'") == "article-0"
    )


async def test_actions_on_a_database_without_our_tables(bare_tui: Tui) -> None:
    for line in ("retry --failed", "clear --confirm", "list", "recent", "stop", "pause", "cleanup --yes"):
        answer = await bare_tui(*line.split())
        assert (answer.code, answer.out) == (ExitCode.NO, ""), line
        assert 1 <= len(answer.complaint) <= 2


async def test_ctrl_c_ends_after_a_batch_and_tells_how_many(tui: Tui, connection: Connection) -> None:
    await connection.execute(
        """INSERT INTO embedding_tasks (operation, status, completed_at)
           SELECT 'update', 'failed', now() - n * interval '1 s' FROM generate_series(1, 1500) n;
           CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
               'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NEW; END';
           CREATE TRIGGER hold BEFORE UPDATE ON embedding_tasks FOR EACH ROW EXECUTE FUNCTION hold()"""
    )
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(42)")
        process = await tui.start("retry", "--failed")
        await until_any_blocked(connection, within_s=30)
        process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == INTERRUPTED
    assert b"1,000 of 1,500" in err
    assert await statuses(connection) == {"pending": 1000, "failed": 500}
    await act(tui, "retry", "--failed", changed=500)


async def test_no_command_changes_anything_through_a_profile_that_is_read_only(
    tui: Tui, database: Database, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queued_articles(connection, 3)
    file = tmp_path / "profiles.toml"
    file.write_text(f'[profiles.live]\ndatabase_url = "{database.url}"\nread_only = true\n')
    monkeypatch.setenv("EMBEDQ_PROFILES", str(file))
    for line in ("clear --confirm", "pause", "stop --force", "triggers install"):
        answer = await tui(*line.split(), "--profile", "live")
        assert answer.code == ExitCode.NO, line
        assert 1 <= len(answer.complaint) <= 2
    assert (await tui("status", "--profile", "live")).code == ExitCode.OK
    assert await statuses(connection) == {"pending": 3}
    assert await connection.fetchval("SELECT stopped_at IS NULL AND paused_at IS NULL FROM embedq_control")
