"""`embedq-tui monitor` on a terminal, on a dumb one, in a pipe."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from embedq_worker.errors import INTERRUPTED, READER_GONE, ExitCode
from tests.commands.actors import start_worker
from tests.commands.running import Tui
from tests.commands.shapes import assert_shape, documented_shapes
from tests.support.content import queued_articles, until_true
from tests.support.databases import Connection, Database, Server
from tests.support.terminal import Terminal, terminal

HIDDEN, SHOWN = b"\x1b[?25l", b"\x1b[?25h"


@asynccontextmanager
async def monitor(
    tui: Tui, *arguments: str, columns: int = 80, lines: int = 24, **variables: str
) -> AsyncIterator[Terminal]:
    """The monitor on a terminal."""
    command = ["-m", "embedq_tui", "monitor", *arguments]
    async with terminal(command, tui.variables | variables, columns=columns, lines=lines) as shown:
        yield shown


async def test_it_shows_the_queue_and_what_others_commit_at_once(tui: Tui, connection: Connection) -> None:
    await start_worker(connection)
    articles = await queued_articles(connection, 3)
    async with monitor(tui, "--interval", "600") as shown:
        await shown.until(lambda text: "3 pending" in text and "build-7/4711" in text)
        assert shown.modes() == (False, False)
        await connection.execute(
            """UPDATE embedding_tasks SET status = 'failed', completed_at = now(), error_message = $2
               WHERE article_id = $1""",
            articles[0],
            "broke \x1b]52;c;aGk=\x07 [red]there[/]",
        )
        await shown.until(lambda text: "2 pending" in text and "1 failed" in text)
        await connection.execute("UPDATE embedding_worker_status SET is_running = false")
        await shown.until(lambda text: "Stopped by postgres" in text)
        assert b"\x1b]52" not in shown.received
        shown.type("q")
        assert await shown.ended() == ExitCode.OK
        assert shown.received.rstrip().endswith(SHOWN)
        assert shown.received.count(HIDDEN) == 1
        assert shown.modes() == (True, True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, 143)])
async def test_signals_end_it_and_the_terminal_is_as_it_was(
    tui: Tui, number: signal.Signals, code: int
) -> None:
    async with monitor(tui) as shown:
        await shown.until(lambda text: "0 pending" in text)
        shown.process.send_signal(number)
        assert await shown.ended() == code
        assert shown.received.rstrip().endswith(SHOWN)
        assert shown.modes() == (True, True)
        assert b"Traceback" not in shown.received


@pytest.mark.parametrize("nohup", [False, True])
async def test_it_ends_with_its_terminal(tui: Tui, nohup: bool) -> None:
    ignored = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); " if nohup else ""
    script = f"{ignored}from embedq_tui.cli import main; main()"
    async with terminal(["-c", script, "monitor"], tui.variables) as shown:
        await shown.until(lambda text: "0 pending" in text)
        shown.hang_up()
        assert await shown.ended() in (
            (128 + signal.SIGHUP, READER_GONE) if nohup else (128 + signal.SIGHUP,)
        )


@pytest.mark.parametrize(("columns", "lines"), [(120, 40), (40, 10), (12, 3)])
async def test_it_fits_any_terminal(tui: Tui, connection: Connection, columns: int, lines: int) -> None:
    for _ in range(20):
        await start_worker(connection)
    await connection.execute(
        """INSERT INTO embedding_tasks (operation, status, error_message, completed_at)
           SELECT 'update', 'failed', 'way ' || chr(97 + n % 9) || repeat(' 錯誤', 60), now()
           FROM generate_series(1, 20) AS n"""
    )
    async with monitor(tui, columns=columns, lines=lines) as shown:
        await shown.until(lambda text: text[:1] in ("e", "…"))
        # Nothing was pushed up: the first line is still the first one, and none is broken in two.
        assert all(line[:1] not in ("t", "n") for line in shown.lines if columns > 12)
        shown.resize(80, 24)
        await shown.until(lambda text: "20 failed" in text and "(20" in text and "Audit" in text)
        assert len([line for line in shown.lines if line == "Audit"]) == 1


async def test_a_lost_connection_keeps_the_data_and_comes_back(
    tui: Tui, database: Database, server: Server, connection: Connection
) -> None:
    await queued_articles(connection, 3)
    name = database.url.rpartition("/")[2]
    async with monitor(tui) as shown, server.administration() as administration:
        await shown.until(lambda text: "3 pending" in text)
        await administration.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await administration.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = $1 AND application_name LIKE 'embedq-tui%'""",
            name,
        )
        await shown.until(lambda text: "reconnecting in" in text and " old" in text and "3 pending" in text)
        await connection.execute("DELETE FROM embedding_tasks")
        await administration.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await shown.until(lambda text: "0 pending" in text and "reconnecting" not in text)


async def test_slow_queries_do_not_hold_up_the_clock(
    tui: Tui, database: Database, connection: Connection
) -> None:
    blocker = await database.connect()
    async with monitor(tui, "--interval", "600", TZ="UTC") as shown:
        await shown.until(lambda text: "0 pending" in text)
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE embedding_audit_logs")
            await queued_articles(connection, 3)
            await until_true(
                connection,
                """SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                       AND application_name LIKE 'embedq-tui%' AND wait_event_type = 'Lock'
                       AND query_start < clock_timestamp() - interval '3 s')""",
            )
        await shown.until(lambda text: "3 pending" in text)
        clock = datetime.strptime(shown.lines[0].split()[-1], "%H:%M:%S")
        ahead = clock - datetime.now(UTC).replace(tzinfo=None)
        assert (ahead + timedelta(seconds=2)) % timedelta(days=1) < timedelta(seconds=3)


async def test_ctrl_z_gives_the_terminal_back_meanwhile(tui: Tui) -> None:
    async with monitor(tui) as shown:
        await shown.until(lambda text: "0 pending" in text)
        shown.process.send_signal(signal.SIGTSTP)
        await asyncio.to_thread(os.waitid, os.P_PID, shown.process.pid, os.WSTOPPED | os.WNOWAIT)
        assert shown.modes() == (True, True)
        shown.screen.reset()
        shown.process.send_signal(signal.SIGCONT)
        await shown.until(lambda text: "0 pending" in text)
        assert shown.modes() == (False, False)


async def test_stopped_from_outside_it_takes_the_terminal_back_from_the_shell(tui: Tui) -> None:
    async with monitor(tui) as shown:
        await shown.until(lambda text: "0 pending" in text)
        shown.process.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(os.waitid, os.P_PID, shown.process.pid, os.WSTOPPED | os.WNOWAIT)
        shown.reset_modes()
        shown.screen.reset()
        shown.process.send_signal(signal.SIGCONT)
        await shown.until(lambda text: "0 pending" in text)
        assert shown.modes() == (False, False)
        shown.type("q")
        assert await shown.ended() == ExitCode.OK
        assert shown.modes() == (True, True)


async def test_a_dumb_terminal_gets_lines(tui: Tui, connection: Connection) -> None:
    await queued_articles(connection, 3)
    async with monitor(tui, "--interval", "0.2", TERM="dumb") as shown:
        await shown.until(lambda text: text.count("pending=3") >= 2)
        assert "oldest_due_s=-" not in shown.text
        await connection.execute("UPDATE embedding_tasks SET status = 'completed'")
        await shown.until(lambda text: "oldest_due_s=-" in text)
        assert b"\x1b" not in shown.received
        shown.process.send_signal(signal.SIGINT)
        assert await shown.ended() == INTERRUPTED


async def test_once(tui: Tui, connection: Connection) -> None:
    await queued_articles(connection, 3)
    answer = await tui("monitor", "--once")
    assert answer.code == ExitCode.OK
    assert "3 pending" in answer.out
    document = (await tui("monitor", "--once", "--json")).document("monitor")
    assert document["queue"]["pending"] == 3
    assert (document["state"], document["drain_s"]) == ("no worker", None)


async def test_a_pipe_gets_an_object_for_each_interval_until_its_reader_goes(
    tui: Tui, connection: Connection
) -> None:
    await start_worker(connection)
    process = await tui.start("monitor", "--interval", "0.2", "--json")
    assert process.stdout is not None
    for _ in range(2):
        value = json.loads(await asyncio.wait_for(process.stdout.readline(), 15))
        assert_shape(value, documented_shapes()["monitor"])
        assert value["state"] == "running"
    process.send_signal(signal.SIGINT)
    assert (await process.communicate())[1].strip() == b""
    assert process.returncode == INTERRUPTED


async def test_a_first_look_that_fails_needs_no_screen(anywhere: Tui, bare_tui: Tui) -> None:
    answer = await bare_tui("monitor", "--once")
    assert (answer.code, answer.out) == (ExitCode.NO, "")
    async with monitor(bare_tui, DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing") as shown:
        assert await shown.ended() == ExitCode.UNREACHABLE
        assert HIDDEN not in shown.received
