"""`list`, `recent`, `show`, `article`: what is shown, in which order, of texts that others wrote."""

from __future__ import annotations

import json
import re
import signal
from typing import Any
from uuid import UUID, uuid4

import pytest

from embedq_worker.errors import ExitCode
from tests.commands.actors import MODEL, embed, start_worker
from tests.commands.running import Tui
from tests.support.blocking import until_any_blocked
from tests.support.content import add_articles, queue_tasks, queued_articles
from tests.support.databases import Connection, Database
from tests.support.terminal import terminal

NASTY = "[/red] \x1b]52;c;aGk=\x07 \u202e [@click=app.bell]x[/]"


async def listed(tui: Tui, *arguments: object) -> list[Any]:
    """Slugs of a list."""
    answer = await tui("list", "--json", *map(str, arguments))
    assert answer.code in (ExitCode.OK, ExitCode.NO), answer.err
    tasks = answer.document("list")["tasks"]
    assert bool(tasks) == (answer.code == ExitCode.OK)
    return [task["slug"] for task in tasks]


async def test_a_list_by_conditions(tui: Tui, connection: Connection) -> None:
    await queued_articles(connection, 3, slug="high", priority="high")
    await queued_articles(connection, 2, slug="low", priority="low")
    await connection.execute(
        """UPDATE embedding_tasks SET status = 'failed', error_message = 'Timeout of ' || slug,
                  completed_at = now() - interval '3 h' WHERE slug LIKE '%-0'"""
    )
    assert len(await listed(tui)) == 5
    assert await listed(tui, "--status", "failed", "--priority", "high") == ["high-0"]
    assert await listed(tui, "--status", "failed", "--status", "pending", "--slug", "LOW") == [
        "low-1",
        "low-0",
    ]
    assert await listed(tui, "--error", "timeout of h") == ["high-0"]
    assert await listed(tui, "--error", "%") == []
    assert sorted(await listed(tui, "--until", "2h")) == ["high-0", "low-0"]
    assert sorted(await listed(tui, "--since", "2h")) == ["high-1", "high-2", "low-1"]
    article = await connection.fetchval("SELECT id FROM articles WHERE slug = 'low-1'")
    assert await listed(tui, "--article", article) == ["low-1"]
    assert await listed(tui, "--operation", uuid4()) == []


async def test_a_list_by_kind_and_metadata(tui: Tui, connection: Connection) -> None:
    await connection.execute(
        """INSERT INTO embedding_tasks (operation, metadata)
           VALUES ('delete', '{"source": "import", "by": {"name": "ann"}}'), ('update', '{"source": "sync"}'),
                  ('update', NULL), ('create', '["source"]')"""
    )
    for line, count in (
        (("--metadata", '{"by": {"name": "ann"}}'), 1),
        (("--metadata", '{"source": "import"}', "--kind", "update"), 0),
        (("--metadata", "{}"), 2),
        (("--kind", "update"), 2),
    ):
        document = (await tui("list", "--json", *line)).document("list")
        assert len(document["tasks"]) == count, line
    for wrong in ("[1]", "{", "text"):
        assert (await tui("list", "--metadata", wrong)).code == ExitCode.USAGE
    answer = await tui("cancel", "--metadata", '{"source": "sync"}', "--yes", "--json")
    assert answer.document("action")["changed"] == 1


async def test_actions_take_the_kind_and_the_folder_of_a_list(tui: Tui, connection: Connection) -> None:
    await connection.execute(
        "INSERT INTO embedding_tasks (operation) VALUES ('delete'), ('update'), ('create')"
    )
    await queued_articles(connection, 2)
    await connection.execute("UPDATE articles SET folder = '/guides/old' WHERE slug = 'article-1'")
    assert await listed(tui, "--folder", "guides") == ["article-1"]
    for line in (
        ("priority", "high", "--folder", "/guides"),
        ("cancel", "--folder", "guides/old/", "--yes"),
        ("retry", "--failed", "--folder", "guides"),
        ("priority", "high", "--kind", "delete"),
        ("cancel", "--kind", "delete", "--yes"),
        ("retry", "--failed", "--kind", "delete"),
    ):
        document = (await tui(*line, "--json")).document("action")
        assert document["changed"] == 1, line


async def test_articles_by_state_folder_and_name(tui: Tui, connection: Connection) -> None:
    ids = await add_articles(connection, ["One.", "Two.", "Three.", ""], folder="/guides/a")
    await queue_tasks(connection, ids[:1])
    await add_articles(connection, ["Out."], slug="other", folder="guidesb", no_rag=True)

    async def found(*line: object, code: int = ExitCode.OK) -> list[tuple[str, str]]:
        answer = await tui("articles", "--json", *map(str, line))
        assert answer.code == code
        return [(row["slug"], row["state"]) for row in answer.document("articles")["articles"]]

    assert await found("--sort", "oldest") == [
        ("article-0", "queued"),
        ("article-1", "missing"),
        ("article-2", "missing"),
        ("article-3", "empty"),
        ("other-0", "excluded"),
    ]
    missing = ["--state", "missing", "--folder", "guides"]
    assert await found(*missing, "--limit", 1) == [("article-2", "missing")]
    assert await found(*missing, "--after", ids[2]) == [("article-1", "missing")]
    assert await found("--state", "queued", "--state", "excluded", "--text", "TITLE OF other") == [
        ("other-0", "excluded")
    ]
    assert await found("--state", "stale", code=ExitCode.NO) == []
    text = await tui("articles", "--limit", "1")
    assert "other-0" in text.out
    assert "--after" in text.out


async def test_pages(tui: Tui, connection: Connection) -> None:
    await queued_articles(connection, 5)
    seen: list[str] = []
    arguments: list[str] = []
    while True:
        document = (await tui("list", "--json", "--limit", "2", "--sort", "oldest", *arguments)).document(
            "list"
        )
        seen += [task["slug"] for task in document["tasks"]]
        if document["next"] is None:
            break
        arguments = ["--after", document["next"]]
    assert seen == [f"article-{number}" for number in range(5)]
    answer = await tui("list", "--limit", "2")
    assert re.search(r"--after \S+/[0-9a-f-]{36}", answer.out)
    assert "--after" not in (await tui("list")).out


async def test_what_happened_last(tui: Tui, connection: Connection) -> None:
    assert (await tui("recent")).code == ExitCode.OK
    await queued_articles(connection, 5)
    await connection.execute(
        """UPDATE embedding_tasks SET status = 'completed', completed_at = now() WHERE slug = 'article-3';
           UPDATE embedding_tasks SET status = 'processing', processed_at = now() - interval '10 s'
           WHERE slug = 'article-2';
           UPDATE embedding_tasks SET scheduled_at = now() + interval '1 h' WHERE slug = 'article-4'"""
    )
    document = (await tui("recent", "--json")).document("recent")
    assert [task["slug"] for task in document["tasks"]] == [
        "article-3",
        "article-2",
        "article-1",
        "article-0",
    ]
    assert len((await tui("recent", "--json", "--limit", "1")).document("recent")["tasks"]) == 1


async def test_the_history_of_a_task(tui: Tui, connection: Connection) -> None:
    [article] = await add_articles(connection, ["Text."], slug="history", folder="docs")
    tasks = await queue_tasks(connection, [article])
    task = tasks[0]
    await embed(connection, article)
    await queue_tasks(connection, [article])
    worker = await start_worker(connection)
    claimed = await connection.fetchrow("SELECT * FROM embedq_claim($1, 'm e', 'm', 5, NULL, NULL)", worker)
    assert claimed is not None
    later = claimed["id"]
    await connection.execute(
        "SELECT embedq_return($1, ARRAY[$2::uuid], ARRAY[$3::bigint], ARRAY[$4::timestamptz], "
        "'{final}', '{no such model}', ARRAY[E'Traceback\\n  in x'], '{0}', '{null}')",
        worker,
        later,
        claimed["claim_token"],
        claimed["claimed_at"],
    )
    assert (await tui("retry", str(later))).code == ExitCode.OK
    assert (await tui("cancel", str(later))).code == ExitCode.OK

    document = (await tui("show", str(later), "--json")).document("show")
    assert document["task"]["status"] == "failed"
    assert document["advice"]
    assert document["stack_trace"] == "Traceback\n  in x"
    assert [(event["worker"], event["attempt"]) for event in document["timeline"][:2]] == [
        (str(worker), 1)
    ] * 2
    assert document["timeline"][1]["error"] == "no such model"
    assert document["timeline"][1]["duration_ms"] >= 0
    assert all("@" in event["operator"] for event in document["timeline"][2:])
    assert len(document["timeline"]) == 4
    assert [other["id"] for other in document["related"]] == [str(task)]
    assert (document["article"]["slug"], document["article"]["chunks"]) == ("history-0", 1)
    text = (await tui("show", str(later))).out
    for part in (str(later), "no such model", "Traceback", "history-0", str(task)):
        assert part in text
    told = document["timeline"][1]["duration_ms"]
    assert f"{told:,.0f} ms" in text  # as the audit log tells it
    assert "action=retry" in text

    answer = await tui("show", str(uuid4()))
    assert (answer.code, answer.out) == (ExitCode.NO, "")


async def test_a_task_without_an_article_and_with_odd_metadata(tui: Tui, connection: Connection) -> None:
    task = await connection.fetchval(
        "INSERT INTO embedding_tasks (operation, metadata) VALUES ('delete', '[1, \"two\"]') RETURNING id"
    )
    await connection.execute(
        """INSERT INTO embedding_audit_logs (level, category, message, task_id, metadata)
           SELECT 'info', 'task_lifecycle', 'theirs', $1, m FROM unnest(ARRAY[
               '[]', '"text"', '{"attempt": "two", "worker": 7, "operator": null}', NULL]::jsonb[]) AS m""",
        task,
    )
    document = (await tui("show", str(task), "--json")).document("show")
    assert document["article"] is None
    assert document["metadata"] == [1, "two"]
    assert len(document["timeline"]) == 4
    assert (await tui("show", str(task))).code == ExitCode.OK


_LEFT_BEHIND = """INSERT INTO embeddings (article_id, chunk_id, chunk_index, text_content)
                  SELECT id, 'x.md#7', 7, 'old' FROM articles"""
"""A chunk of an older text, by another program."""


@pytest.mark.parametrize(
    ("state", "change"),
    [
        ("embedded", "SELECT 1"),
        ("stale", "UPDATE articles SET content = 'other'"),
        ("stale", _LEFT_BEHIND),
        ("missing", f"DELETE FROM embeddings; UPDATE embedq_articles SET chunks = 0; {_LEFT_BEHIND}"),
        ("missing", "DELETE FROM embeddings"),
        ("missing", "DELETE FROM embeddings; DELETE FROM embedq_articles"),
        ("model", "DELETE FROM embedq_articles; UPDATE embeddings SET model = NULL"),
        ("missing", "DELETE FROM embedq_articles; UPDATE embeddings SET vector = NULL"),
        ("excluded", "UPDATE articles SET no_rag = true"),
        ("empty", "DELETE FROM embeddings; UPDATE embedq_articles SET chunks = 0"),
        (
            "empty",
            "DELETE FROM embeddings; DELETE FROM embedq_articles; UPDATE articles SET content = E' \\n'",
        ),
    ],
)
async def test_states_of_an_article(tui: Tui, connection: Connection, state: str, change: str) -> None:
    [article] = await queued_articles(connection, 1)
    await embed(connection, article)
    await connection.execute(change)
    for key in (str(article), "article-0"):
        document = (await tui("article", key, "--json")).document("article")
        assert document["article"]["state"] == state
        assert len(document["tasks"]) == 1
        assert document["article"]["chunks"] == len(document["chunks"])
    if state == "embedded":
        assert document["article"]["models"] == [MODEL]
        assert document["chunks"][0]["heading_path"] == ["Part"]


async def test_articles_that_are_not_there(tui: Tui, connection: Connection) -> None:
    await add_articles(connection, ["A.", "B."], slug="1")
    await connection.execute("UPDATE articles SET slug = '2' WHERE id = 1")
    assert (await tui("article", "2", "--json")).document("article")["article"]["id"] == 1  # the slug wins
    for key in ("none", "99", "99999999999", "-1", "٣"):
        answer = await tui("article", "--", key)
        assert (answer.code, answer.out) == (ExitCode.NO, ""), key


async def test_text_of_others_is_neither_markup_nor_a_command(tui: Tui, connection: Connection) -> None:
    article: int = await connection.fetchval(
        """INSERT INTO articles (title, slug, content, folder)
           SELECT t, t, t, t FROM (SELECT $1::text) AS n(t) RETURNING id""",
        NASTY,
    )
    task: UUID = await connection.fetchval(
        """INSERT INTO embedding_tasks (article_id, slug, operation, status, error_message, metadata)
           VALUES ($1, $2::text, 'update', 'failed', $2::text, jsonb_build_object('k', $2::text))
           RETURNING id""",
        article,
        NASTY,
    )
    await embed(connection, article)
    await connection.execute("UPDATE embedding_tasks SET status = 'failed'")
    await connection.execute("UPDATE embeddings SET heading_path = ARRAY[$1], model = $1", NASTY)
    await connection.execute(
        """INSERT INTO embedding_audit_logs (level, category, message, task_id, error, stack_trace, metadata)
           VALUES ('error', 'error_handling', $1, $2, $1, $1,
                   jsonb_build_object('operator', $1::text, 'host', 'h'))""",
        NASTY,
        task,
    )
    for arguments in (
        ["list"],
        ["recent"],
        ["show", str(task)],
        ["article", str(article)],
        ["list", "--slug", NASTY],
    ):
        for form in ([], ["--json"]):
            answer = await tui(*arguments, *form)
            assert answer.code == ExitCode.OK, answer.err
            assert "[/red]" in answer.out
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", answer.out), arguments


@pytest.mark.parametrize("line", ["recent", "list --status failed", "article 1"])
async def test_a_long_slug_takes_nothing_from_what_stands_beside_it(
    database: Database, connection: Connection, line: str
) -> None:
    await connection.execute(
        "INSERT INTO articles (id, title, slug, content) VALUES (1, 'Long', repeat('slug-', 50), 'Text')"
    )
    [task] = await queue_tasks(connection, [1])
    await connection.execute(
        """UPDATE embedding_tasks SET status = 'failed', error_message = 'boom', slug = repeat('slug-', 50),
                                      completed_at = now() - interval '3 h'"""
    )
    variables = {"DATABASE_URL": database.url, "HOME": "/nonexistent", "LANG": "C.UTF-8"}
    async with terminal(["-m", "embedq_tui", *line.split()], variables) as program:
        await program.until(lambda text: str(task) in text)
        [row] = [row for row in program.lines if str(task) in row]
        assert "failed" in row
        assert "3 h ago" in row


async def test_a_command_that_waits_says_so_on_a_terminal(
    tui: Tui, database: Database, connection: Connection
) -> None:
    holder = await database.connect()
    for command in ("list", "retry --failed --dry-run", "audit"):
        lock = holder.transaction()
        await lock.start()
        await holder.execute("LOCK TABLE embedding_tasks, embedding_audit_logs")
        async with terminal(["-m", "embedq_tui", *command.split()], tui.variables) as shown:
            await shown.until(lambda text: bool(text.strip()))
            waiting = shown.lines[0]
            await lock.rollback()
            await shown.ended()
            assert waiting not in shown.lines, command


async def test_a_command_that_is_terminated_while_it_waits_leaves_a_cursor(
    tui: Tui, database: Database
) -> None:
    holder = await database.connect()
    async with holder.transaction():
        await holder.execute("LOCK TABLE embedding_tasks")
        async with terminal(["-m", "embedq_tui", "list"], tui.variables) as shown:
            await shown.until(lambda text: bool(text.strip()))
            shown.process.send_signal(signal.SIGTERM)
            await shown.ended()
            assert shown.received.rfind(b"\x1b[?25l") <= shown.received.rfind(b"\x1b[?25h")


async def test_a_command_that_waits_needs_no_standard_output(
    tui: Tui, database: Database, connection: Connection
) -> None:
    await queued_articles(connection, 1)
    closed = "import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    holder = await database.connect()
    lock = holder.transaction()
    await lock.start()
    await holder.execute("LOCK TABLE embedding_tasks")
    async with terminal(["-c", closed, "-m", "embedq_tui", "list"], tui.variables) as shown:
        await shown.until(lambda text: bool(text.strip()))
        await lock.rollback()
        assert await shown.ended() == ExitCode.OK


async def test_what_began_while_a_list_waited_is_not_in_the_future(
    tui: Tui, database: Database, connection: Connection
) -> None:
    await queued_articles(connection, 1)
    holder = await database.connect()
    async with holder.transaction():
        await holder.execute("LOCK TABLE embedding_tasks")
        process = await tui.start("list", "--json")
        await until_any_blocked(connection)
        await holder.execute(
            "UPDATE embedding_tasks SET status = 'processing', processed_at = clock_timestamp()"
        )
    out, _ = await process.communicate()
    document = json.loads(out)
    assert document["at"] >= document["tasks"][0]["processed_at"]
