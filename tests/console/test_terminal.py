"""The console on a real terminal: it starts, obeys keys and sizes, and leaves the terminal as it was."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.content import queued_articles, until_left
from tests.support.databases import Connection, Database
from tests.support.tcp_proxy import TcpProxy
from tests.support.terminal import Terminal, terminal
from tests.support.waiting import until

ALTERNATE_ON, ALTERNATE_OFF = b"\x1b[?1049h", b"\x1b[?1049l"


@asynccontextmanager
async def opened(database: Database, *arguments: str, **variables: str) -> AsyncIterator[Terminal]:
    environment = {
        "DATABASE_URL": database.url,
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
        "COLORTERM": "truecolor",
    } | variables
    async with terminal([*(arguments or ("-m", "embedq_tui"))], environment) as program:
        await program.until(lambda text: "live" in text and "pending" in text, within_s=30)
        yield program


async def test_it_shows_what_anybody_commits_obeys_keys_and_leaves_the_terminal_as_it_was(
    database: Database, connection: Connection
) -> None:
    async with opened(database) as program:
        assert program.modes() == (False, False)
        await queued_articles(connection, 7)
        await program.until(lambda text: "7 pending" in text)
        program.type("?")
        await program.until(lambda text: "Keys" in text)
        program.type("\x1b")
        await program.until(lambda text: "Keys" not in text)
        for columns, lines in ((200, 60), (1, 1), (20, 4), (80, 24)):
            program.resize(columns, lines)
        await connection.execute(
            "DELETE FROM embedding_tasks WHERE id = (SELECT id FROM embedding_tasks LIMIT 1)"
        )
        await program.until(lambda text: "6 pending" in text)
        program.type("q")
        assert await program.ended() == 0
        assert program.modes() == (True, True)
        assert program.received.count(ALTERNATE_ON) == program.received.count(ALTERNATE_OFF) == 1


BROKEN = """
import sys
from embedq_tui import cli
from embedq_tui.screens.failures.screen import FailuresScreen

def body(self):
    password = "swordfish"
    raise ImportError("a bug")

FailuresScreen.body = body
sys.exit(cli.run(sys.argv[1:]))
"""


@pytest.mark.parametrize("arguments", [(), ("--debug",)])
async def test_a_bug_ends_it_in_two_lines_or_with_a_traceback_and_tells_no_local_variable(
    database: Database, arguments: tuple[str, ...]
) -> None:
    environment = {"DATABASE_URL": database.url, "HOME": "/nonexistent", "LANG": "C.UTF-8"}
    environment["PYTHON_COLORS"] = "0"  # Python 3.13 would colour a traceback
    async with terminal(["-c", BROKEN, *arguments], environment) as program:
        await program.until(lambda text: "live" in text and "pending" in text, within_s=30)
        program.type("4")
        code = await program.ended()
        assert program.modes() == (True, True)
        told = program.received[program.received.rindex(ALTERNATE_OFF) :].decode()
        assert "ImportError: a bug" in told
        assert "swordfish" not in told
        assert (code, "Traceback" in told) == ((1, True) if arguments else (70, False))


async def test_the_alternate_screen_is_left_blank(database: Database) -> None:
    async with opened(database) as program:
        program.resize(120, 40)
        await program.until(lambda text: "Quit" in text.split("\n")[-1])
        program.type("q")
        assert await program.ended() == 0
        # pyte has no alternate screen and shows what was left on it; at the top, the end of a sequence it
        # does not know.
        assert not any(program.lines[1:])


async def test_a_terminal_that_is_of_another_size_for_a_moment_is_drawn_anew(database: Database) -> None:
    async with opened(database) as program:
        program.screen.reset()
        os.kill(program.process.pid, signal.SIGWINCH)  # the moment is over when it looks
        await program.until(lambda text: "Overview" in text and "pending" in text and "Quit" in text)


async def test_what_another_program_wrote_over_is_drawn_anew(database: Database) -> None:
    async with opened(database) as program:
        program.screen.reset()
        program.type("\x12")
        await program.until(lambda text: "Overview" in text and "pending" in text and "Quit" in text)


SHELL = """
import os, signal, subprocess, sys

def begin():
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)

def go_on(*_):
    os.tcsetpgrp(0, child.pid)
    os.killpg(child.pid, signal.SIGCONT)

def end(*_):
    os.killpg(child.pid, signal.SIGTERM)
    os.killpg(child.pid, signal.SIGCONT)

signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-m", "embedq_tui"], preexec_fn=begin)
signal.signal(signal.SIGUSR1, lambda *_: os.killpg(child.pid, signal.SIGSTOP))
signal.signal(signal.SIGUSR2, go_on)
signal.signal(signal.SIGTERM, end)
while os.WIFSTOPPED(status := os.waitpid(child.pid, os.WUNTRACED)[1]):
    os.tcsetpgrp(0, os.getpgrp())
    os.write(1, b"$ ")
sys.exit(os.waitstatus_to_exitcode(status))
"""


async def test_after_a_stop_the_terminal_is_its_own_again_whatever_its_size(database: Database) -> None:
    async with opened(database, "-c", SHELL) as program:
        program.process.send_signal(signal.SIGUSR1)
        await program.until(lambda text: "$" in text)
        program.reset_modes()
        program.screen.reset()
        program.resize(100, 30)  # the shell hears of it
        program.process.send_signal(signal.SIGUSR2)
        await program.until(lambda text: "Overview" in text and "Quit" in text.split("\n")[29])
        assert program.modes() == (False, False)
        program.type("q")
        assert await program.ended() == 0


async def test_suspended_it_leaves_terminal_and_keys_to_the_shell_and_has_no_connection(
    database: Database, connection: Connection
) -> None:
    async with opened(database, "-c", SHELL) as program:
        program.type("\x1a")
        await program.until(lambda text: "$" in text)
        assert program.modes() == (True, True)
        assert program.received.count(ALTERNATE_OFF) == 1
        await until_left(connection)
        await queued_articles(connection, 7)
        program.type("2\n")
        program.screen.reset()
        program.process.send_signal(signal.SIGUSR2)
        await program.until(lambda text: "live" in text and "7 pending" in text and "Quit" in text)
        assert program.modes() == (False, False)
        program.type("8")
        await program.until(lambda text: "/ filter" in text)
        program.type("\x7f")
        await program.until(lambda text: "7 pending" in text)  # on the overview, where it was left
        program.type("q")
        assert await program.ended() == 0
        assert program.received.count(ALTERNATE_ON) == program.received.count(ALTERNATE_OFF) == 2


async def test_suspended_it_ends_when_it_is_told_to(database: Database) -> None:
    async with opened(database, "-c", SHELL) as program:
        program.type("\x1a")
        await program.until(lambda text: "$" in text)
        program.process.send_signal(signal.SIGTERM)
        assert await program.ended() == 128 + signal.SIGTERM
        assert program.modes() == (True, True)
        assert program.received.count(ALTERNATE_ON) == program.received.count(ALTERNATE_OFF) == 1


async def test_it_is_not_suspended_where_no_shell_could_let_it_go_on(database: Database) -> None:
    async with opened(database) as program:
        program.type("\x1a")
        await until(lambda: program.received.count(ALTERNATE_ON) == 2)
        await program.until(lambda text: "live" in text)
        program.type("q")
        assert await program.ended() == 0


async def test_it_is_not_suspended_in_the_middle_of_an_operation(
    database: Database, connection: Connection
) -> None:
    await queued_articles(connection, 7)
    async with opened(database, "-c", SHELL) as program:
        program.type("2")
        await program.until(lambda text: "article-0" in text)
        async with connection.transaction():
            await connection.execute("LOCK TABLE embedding_tasks IN ACCESS EXCLUSIVE MODE")
            program.type("X")
            await program.until(lambda text: "Counting" in text and " 1 s" in text)  # it has been seen
            program.type("\x1a")
            await program.until(lambda text: "Not suspended" in text)
        await program.until(lambda text: "Cancel 7" in text)


async def test_keys_that_come_at_once_arrive(database: Database) -> None:
    async with opened(database) as program:
        program.type("8i/nowhere/at/all\r")
        await program.until(lambda text: "/nowhere/at/all" in text and "no such file" in text)
        program.type("\x03")
        program.type("1q")
        assert await program.ended() == 0


async def test_a_terminal_that_falls_behind_skips_frames(database: Database) -> None:
    screens = {"2": "/ filter", "9": "Schema"}
    async with opened(database) as program:
        program.fall_behind()
        for key in "2929292929":
            program.type(key)
            try:
                await until(lambda key=key: screens[key] in program.text, within_s=1)  # type: ignore[misc]
            except TimeoutError:
                break
        else:
            pytest.fail("all of them were sent")
        program.catch_up()
        await program.until(lambda text: screens[key] in text)
        program.type("q")
        assert await program.ended() == 0


async def test_what_is_not_utf8_is_passed_over(database: Database) -> None:
    async with opened(database) as program:
        program.type(b"\xff\xe4")
        program.type("?")
        await program.until(lambda text: "Keys" in text)
        program.type("\x1b")
        await program.until(lambda text: "Keys" not in text)
        program.type("q")
        assert await program.ended() == 0


async def test_late_answers_and_keys_that_do_not_exist_are_passed_over(database: Database) -> None:
    async with opened(database) as program:
        program.type("\x1b[?62;22c\x1b]11;rgb:1e1e/1e1e/1e1e\x1b\\\x1b[1114112u")
        program.type("2")
        await program.until(lambda text: "newest first" in text)
        program.type("q")
        assert await program.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_a_signal_ends_it_and_the_terminal_is_as_it_was(database: Database, number: int) -> None:
    async with opened(database) as program:
        os.kill(program.process.pid, number)
        assert await program.ended() in (128 + number, 0)
        assert program.modes() == (True, True)
        assert program.received.count(ALTERNATE_ON) == program.received.count(ALTERNATE_OFF)


async def test_a_signal_that_comes_while_it_starts_leaves_the_terminal_as_it_was(database: Database) -> None:
    environment = {"DATABASE_URL": database.url, "HOME": "/nonexistent", "LANG": "C.UTF-8"}
    async with terminal(["-m", "embedq_tui"], environment) as program:
        await until(lambda: program.modes() == (False, False))
        os.kill(program.process.pid, signal.SIGTERM)
        assert await program.ended() == 128 + signal.SIGTERM
        assert program.modes() == (True, True)
        assert program.received.count(ALTERNATE_ON) == program.received.count(ALTERNATE_OFF)


async def test_a_terminal_that_is_gone_ends_it(database: Database) -> None:
    async with opened(database) as program:
        program.hang_up()
        assert await program.ended() != 0


@pytest.mark.parametrize(
    "variables",
    [
        {"NO_COLOR": "1"},
        {"TERM": "xterm", "COLORTERM": ""},
        {"TERM": "vt100", "COLORTERM": ""},
        {"LANG": "C"},
    ],
    ids=["no colour", "sixteen colours", "old terminal", "old locale"],
)
async def test_it_is_readable_on_poor_terminals(database: Database, variables: dict[str, str]) -> None:
    async with opened(database, **variables) as program:
        received = bytes(program.received)
        if "NO_COLOR" in variables:
            assert b"\x1b[38;" not in received
        if variables.get("COLORTERM") == "":
            assert b"38;2;" not in received
        if variables.get("TERM") == "vt100" or "LANG" in variables:
            assert received.isascii()
        program.type("q")
        assert await program.ended() == 0


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "xterm", "COLORTERM": ""}])
async def test_what_a_button_would_do_is_read_before_it_can_be_pressed(
    database: Database, connection: Connection, variables: dict[str, str]
) -> None:
    await queued_articles(connection, 7)
    async with opened(database, **variables) as program:
        program.type("2")
        await program.until(lambda text: "article-0" in text)
        program.type("X")
        await program.until(
            lambda text: any("No" in line and "Cancel 7" in line for line in text.split("\n"))
        )


async def test_it_ends_at_once_although_its_connections_died_in_silence(database: Database) -> None:
    async with TcpProxy(database.url) as proxy, opened(database, DATABASE_URL=proxy.url) as program:
        proxy.swallow()
        program.type("q")
        assert await program.ended(within_s=4) == 0


STUBBORN = """
import asyncio
task = None

async def stay():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

def run(runner, main, run=asyncio.Runner.run):
    async def beside():
        global task
        task = asyncio.create_task(stay())
        return await main
    return run(runner, beside())

asyncio.Runner.run = run
"""


@pytest.mark.slow
async def test_it_ends_although_a_task_does_not(database: Database, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(STUBBORN)
    async with opened(database, PYTHONPATH=str(tmp_path)) as program:
        program.type("q")
        assert await program.ended() == 0
        assert program.modes() == (True, True)


async def test_where_there_is_no_terminal_it_says_so(database: Database) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "embedq_tui"),
        env={"PATH": os.environ["PATH"], "DATABASE_URL": database.url},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert len(err.splitlines()) == 2
