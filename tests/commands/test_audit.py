"""`embedq-tui audit`: what is shown, in which order, and what comes."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from embedq_worker.errors import INTERRUPTED, READER_GONE, ExitCode
from tests.commands.running import Tui
from tests.commands.shapes import assert_shape, documented_shapes
from tests.support.content import add_articles
from tests.support.databases import Connection, Database
from tests.support.terminal import terminal

NASTY = "[/red] \x1b]52;c;aGk=\x07 \u202e [@click=app.bell]x[/]"


async def log(connection: Connection, message: str, **columns: object) -> UUID:
    """Write a row."""
    values = {"level": "info", "category": "task_lifecycle", "message": message, **columns}
    numbers = ", ".join(f"${n}" for n in range(1, len(values) + 1))
    written: UUID = await connection.fetchval(
        f"INSERT INTO embedding_audit_logs ({', '.join(values)}) VALUES ({numbers}) RETURNING id",
        *values.values(),
    )
    return written


async def messages(tui: Tui, *arguments: object) -> list[str]:
    """What is listed, as objects of the documented shape."""
    answer = await tui("audit", "--json", *map(str, arguments))
    assert answer.code == (ExitCode.OK if answer.out else ExitCode.NO), answer.err
    rows = [json.loads(line) for line in answer.out.splitlines()]
    for row in rows:
        assert_shape(row, documented_shapes()["audit"])
    return [row["message"] for row in rows]


async def test_filters(tui: Tui, connection: Connection) -> None:
    (article,) = await add_articles(connection, ["text"])
    task = uuid4()
    old = await connection.fetchval("SELECT now() - interval '3 h'")
    await log(connection, "old", timestamp=old)
    await log(connection, "of a task", task_id=task, article_id=article, level="warn", error="Broke 100%")
    await log(connection, "of an action", operation_id="op-1", category="bulk_operations")
    await log(connection, "grave", level="error", metadata='{"worker": "abcdef", "attempt": 2, "x": null}')
    assert await messages(tui) == ["old", "of a task", "of an action", "grave"]
    assert await messages(tui, "--limit", 2) == ["of an action", "grave"]
    assert await messages(tui, "--level", "warn") == ["of a task", "grave"]
    assert await messages(tui, "--level", "error", "--category", "bulk_operations") == []
    assert await messages(tui, "--category", "bulk_operations") == ["of an action"]
    assert await messages(tui, "--task", task) == ["of a task"]
    assert await messages(tui, "--article", article) == ["of a task"]
    assert await messages(tui, "--article", "article-0") == ["of a task"]
    assert await messages(tui, "--operation", "op-1") == ["of an action"]
    for since in ("2h", (old + timedelta(hours=1)).isoformat()):
        found = await messages(tui, "--since", since, "--text", "A")
        assert found == ["of a task", "of an action", "grave"]
    assert await messages(tui, "--since", old.isoformat(), "--text", "ol") == ["old"]
    assert await messages(tui, "--text", "100%") == ["of a task"]
    assert await messages(tui, "--text", "%r") == []
    for option, value in (("--article", "no-such-article"), ("--operation", "ann")):
        unknown = await tui("audit", option, value)
        assert (unknown.code, unknown.out) == (ExitCode.NO, "")
        assert value in unknown.complaint[0]
    for wrong in (["--level", "fatal"], ["--task", "7"], ["--since", "soon"], ["--since", "2999-01-01"]):
        assert (await tui("audit", *wrong)).code == ExitCode.USAGE


async def test_lines_are_read_by_people(tui: Tui, connection: Connection) -> None:
    (article,) = await add_articles(connection, ["text"])
    await log(connection, NASTY, task_id=uuid4(), article_id=article, level="error", error=NASTY * 20)
    piped = (await tui("audit")).out
    assert len(piped.splitlines()) == 1
    assert "article-0" in piped
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", piped)
    for columns in (60, 130):
        async with terminal(["-m", "embedq_tui", "audit"], tui.variables, columns=columns) as shown:
            assert await shown.ended() == ExitCode.OK
            await shown.until(lambda text: "[/red]" in text)
            assert b"\x1b]" not in shown.received
            assert len([line for line in shown.lines if line]) == 2


@asynccontextmanager
async def followed(tui: Tui, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`audit --follow` as a process with pipes."""
    process = await tui.start("audit", "--follow", *arguments)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def line(process: asyncio.subprocess.Process, *, within_s: float = 15.0) -> str:
    """The next line of its output."""
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), within_s)).decode().rstrip("\n")


async def row(process: asyncio.subprocess.Process) -> Any:
    """The next object of its output."""
    value = json.loads(await line(process))
    assert_shape(value, documented_shapes()["audit"])
    return value


async def test_following_shows_what_is_committed_through_lost_connections(
    tui: Tui, database: Database, connection: Connection
) -> None:
    await log(connection, "before")
    await log(connection, "just before")
    writer = await database.connect()
    async with followed(tui, "--json", "--limit", "1", "--level", "info") as process:
        assert (await row(process))["message"] == "just before"
        async with writer.transaction():
            await log(writer, "committed late")
            await log(connection, "trifle", level="debug")
            first = await log(connection, "first")
            assert (await row(process))["id"] == str(first)
            await connection.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name LIKE 'embedq-tui%'"""
            )
            await log(connection, "while it was away")
            assert (await row(process))["message"] == "while it was away"
        assert (await row(process))["message"] == "committed late"
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
        assert (process.returncode, out) == (INTERRUPTED, b"")
        assert b"Traceback" not in err
        assert len(err.splitlines()) >= 2


async def test_following_ends_when_the_reader_goes(tui: Tui, connection: Connection) -> None:
    await log(connection, "one")
    async with followed(tui) as process:
        assert "one" in await line(process)
        assert process.stdout is not None
        process.stdout._transport.close()  # type: ignore[attr-defined]
        assert await asyncio.wait_for(process.wait(), 15) == READER_GONE
        assert process.stderr is not None
        assert await process.stderr.read() == b""


async def test_following_needs_a_database_to_begin_with(anywhere: Tui, bare_tui: Tui) -> None:
    answer = await bare_tui.process("audit", "--follow")
    assert (answer.code, answer.out) == (ExitCode.NO, "")
    answer = await anywhere.process(
        "audit", "--follow", DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing"
    )
    assert (answer.code, answer.out) == (ExitCode.UNREACHABLE, "")
    assert 1 <= len(answer.complaint) <= 2
