"""The program as a process: exit codes, what it writes where, what it loads, how it ends."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import click
import pytest

from embedq_tui.cli import COMMANDS
from embedq_worker.errors import INTERRUPTED, READER_GONE, ExitCode
from tests.commands.every_command import leaf_commands
from tests.commands.running import Answer, Tui
from tests.commands.shapes import GUIDE
from tests.support.blocking import until_any_blocked
from tests.support.command_line import lines_of, understand
from tests.support.databases import Connection

PAGES = [
    *sorted(GUIDE.parent.glob("*.md")),
    *(GUIDE.parents[1] / name for name in ("README.md", "CONTRIBUTING.md")),
]


@pytest.mark.parametrize("line", leaf_commands(), ids=" ".join)
async def test_help_has_an_example(anywhere: Tui, line: tuple[str, ...]) -> None:
    answer = await anywhere(*line, "--help")
    assert (answer.code, answer.err) == (ExitCode.OK, "")
    assert f"Example: embedq-tui {' '.join(line)}" in " ".join(answer.out.split())


async def test_the_guide_knows_every_command(anywhere: Tui) -> None:
    guide = GUIDE.read_text("utf-8")
    help_text = (await anywhere("--help")).out
    for name in COMMANDS:
        assert f"## `{name}" in guide
        assert name in help_text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_the_guide_says_can_be_typed(page: Path) -> None:
    for words in lines_of(page.read_text("utf-8")):
        try:
            understand(words)
        except (click.exceptions.Exit, click.MissingParameter):  # --help, and names of commands in prose
            continue
        except click.UsageError as error:
            pytest.fail(f"{' '.join(words)}: {error.format_message()}")


async def test_without_a_command_and_a_terminal_it_says_what_to_do(anywhere: Tui) -> None:
    answer = await anywhere.process()
    assert (answer.code, answer.out, len(answer.complaint)) == (ExitCode.USAGE, "", 2)


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "word"),
    [
        (["status"], {}, ExitCode.UNREACHABLE, "127.0.0.1:1/nothing"),
        (["failed", "--json"], {}, ExitCode.UNREACHABLE, "127.0.0.1:1/nothing"),
        (["status"], {"CHUNK_SIZE": "1"}, ExitCode.USAGE, "CHUNK_SIZE"),
        (["statos"], {}, ExitCode.USAGE, "statos"),
        (["status", "--verbose"], {}, ExitCode.USAGE, "embedq-tui status --help"),
        (["failed", "--limit", "0"], {}, ExitCode.USAGE, "--limit"),
    ],
)
async def test_errors_are_two_lines_and_an_exit_code(
    anywhere: Tui, arguments: list[str], variables: dict[str, str], code: int, word: str
) -> None:
    answer = await anywhere.process(*arguments, **variables)
    assert (answer.code, answer.out) == (code, "")
    assert 1 <= len(answer.complaint) <= 2
    assert word in answer.err


async def test_what_a_file_of_settings_holds_in_vain_is_one_line(anywhere: Tui, tmp_path: Path) -> None:
    file = tmp_path / "odd.env"
    file.write_text("A: 1\nB: 2\nC: 3\n")
    for command, least in (["config"], 0), (["status"], 2):
        answer = await anywhere.process(*command, "--env-file", file)
        assert len(answer.complaint) <= least + 1
        assert all(line.startswith(("embedq-tui: ", "  ")) for line in answer.complaint)


async def test_debug_shows_a_traceback(anywhere: Tui) -> None:
    for arguments in (["status", "--debug"], ["--debug", "status"]):
        answer = await anywhere.process(*arguments)
        assert answer.code != ExitCode.OK
        assert "Traceback" in answer.err


_HEAVY = ["textual", "plotext", "rich", "httpx", "wordllama", "numpy", "markdown_it", "structlog", "psutil"]


@pytest.mark.parametrize(
    ("line", "unneeded"),
    [
        ("--help", [*_HEAVY, "pydantic", "asyncpg", "asyncio"]),
        ("status", _HEAVY),
        ("status --json", _HEAVY),
        ("health --json", _HEAVY),
        ("metrics --json", _HEAVY),
        ("list --json", _HEAVY),
    ],
)
async def test_what_is_asked_often_loads_nothing_it_does_not_need(
    tui: Tui, line: str, unneeded: list[str]
) -> None:
    # The console may be installed with everything: what is not imported costs nothing.
    program = (
        f"import sys; from embedq_tui.cli import run; code = run({line.split()});"
        f"print('loaded', [name for name in {unneeded} if name in sys.modules])"
    )
    answer = await _python(tui, program)
    assert answer.out.splitlines()[-1] == "loaded []", answer.err


async def test_nobody_looks_for_plugins_of_pydantic(tui: Tui) -> None:
    process = await tui.start("status", program=("-X", "importtime", "-P", "-m", "embedq_tui"))
    _, err = await process.communicate()
    assert process.returncode == ExitCode.OK
    assert b"pydantic_settings" in err
    assert b"importlib.metadata" not in err


async def test_no_command_loads_textual(tui: Tui) -> None:
    program = (
        "import sys, importlib; from embedq_tui.cli import COMMANDS;"
        "[importlib.import_module('embedq_tui.commands.' + module) for module, _ in COMMANDS.values()];"
        "print([name for name in ('textual', 'plotext') if name in sys.modules])"
    )
    answer = await _python(tui, program)
    assert answer.out == "[]\n", answer.err


async def test_a_reader_that_goes_away(anywhere: Tui) -> None:
    ours, its = os.pipe()
    os.close(ours)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "embedq_tui",
        "config",
        env={"PATH": os.environ["PATH"], **anywhere.variables},
        stdout=its,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(its)
    _, err = await process.communicate()
    assert (process.returncode, err) == (READER_GONE, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
@pytest.mark.parametrize("command", ["config", "config --json"])
async def test_a_full_disk(anywhere: Tui, command: str) -> None:
    answer = await _shell(anywhere, f"{sys.executable} -P -m embedq_tui {command} >/dev/full")
    assert answer.code == ExitCode.NO
    assert len(answer.complaint) == 1


@pytest.mark.parametrize("program", ["embedq_worker --drain", "embedq_tui check"])
async def test_a_process_that_may_open_hardly_a_file(tui: Tui, program: str) -> None:
    answer = await _shell(tui, f"ulimit -n 6; exec {sys.executable} -P -m {program}")
    assert answer.code in (ExitCode.NO, ExitCode.UNREACHABLE)
    assert len(answer.complaint) == 2
    assert "ulimit" in answer.complaint[1]


async def test_closed_output_and_odd_encodings(anywhere: Tui) -> None:
    answer = await _shell(anywhere, f"{sys.executable} -P -m embedq_tui config >&-")
    assert (answer.code, answer.err) == (ExitCode.OK, "")
    for closed in ("<&-", "<&- 2>&-"):  # the console, without whom it could show itself to
        answer = await _shell(anywhere, f"{sys.executable} -P -m embedq_tui {closed}")
        assert (answer.code, len(answer.complaint)) == (ExitCode.USAGE, 2 if closed == "<&-" else 0)
    answer = await anywhere.process("config", PYTHONIOENCODING="ascii", EMBEDDING_MODEL="modèle")
    assert answer.code == ExitCode.OK
    assert "mod?le" in answer.out


async def test_ctrl_c_ends_quietly(tui: Tui, connection: Connection) -> None:
    async with connection.transaction():
        await connection.execute("LOCK TABLE embedq_control")  # status waits for it
        process = await tui.start("status")
        await until_any_blocked(connection)
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode == INTERRUPTED
    assert (out, err) == (b"", b"")


INTERRUPTED_AT_ITS_LOOP = """
import os, signal, socket

make = socket.socketpair
socket.socketpair = lambda *how: os.kill(os.getpid(), signal.SIGINT) or make(*how)  # as each loop does
from {}.__main__ import main
main()
"""


@pytest.mark.parametrize(("package", "arguments"), [("embedq_tui", ["status"]), ("embedq_worker", [])])
async def test_ctrl_c_while_the_loop_is_made_leaves_no_words(
    tui: Tui, package: str, arguments: list[str]
) -> None:
    answer = await _python(tui, INTERRUPTED_AT_ITS_LOOP.format(package), *arguments)
    assert (answer.code, answer.err) == (INTERRUPTED, "")


async def test_a_password_file_that_others_may_read_is_told_on_one_line(tui: Tui, tmp_path: Path) -> None:
    passwords = tmp_path / ".pgpass"
    passwords.write_text("*:*:*:*:secret\n")
    passwords.chmod(0o644)
    answer = await tui.process("status", PGPASSFILE=passwords, COLUMNS=500)
    assert answer.code == ExitCode.OK
    assert len(answer.complaint) == 1
    assert f" {passwords} " in answer.err


@pytest.mark.parametrize("width", [60, 180])
@pytest.mark.parametrize("command", ["failed", "stuck", "list", "recent", "config", "migrate status"])
async def test_tables_fit_the_terminal(tui: Tui, connection: Connection, command: str, width: int) -> None:
    await connection.execute(
        """INSERT INTO embedding_tasks (slug, operation, status, error_message, completed_at, processed_at)
           SELECT repeat('long-slug-', 12), 'update', s.name, repeat('something broke ', 20), now(),
                  now() - interval '2 h'
           FROM unnest('{failed,processing}'::text[]) AS s(name)"""
    )
    shown = await _terminal(tui, command.split(), width)
    lines = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in shown.splitlines()]
    table = lines[: next((n for n, line in enumerate(lines) if not line.strip()), len(lines))]
    assert len(table) > 1
    assert all(len(line) <= width for line in table), shown


@pytest.mark.parametrize("width", [30, 40, 60])
async def test_what_is_cut_for_a_narrow_terminal_says_so(tui: Tui, width: int) -> None:
    """Of a number nobody sees that it was longer."""
    out = (await tui("stats")).out
    figures = [line.split()[-1] for line in out.splitlines() if line.startswith("tasks per")]
    shown = re.sub("\x1b\\[[0-9;]*m", "", await _terminal(tui, ["stats"], width))
    [line] = [line for line in shown.splitlines() if line.startswith("tas")]
    assert line.split()[-2:] == figures * 2


async def test_colour_only_where_it_is_wanted(tui: Tui) -> None:
    assert "\x1b[" in await _terminal(tui, ["config"], 80)
    plain = await _terminal(tui, ["config"], 200, NO_COLOR="1")
    assert not re.search("\x1b\\[[0-9;]*(3[0-9]|4[0-9]|9[0-9])", plain)
    for variables in ({}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}):  # as CI systems set them
        assert "\x1b[" not in (await tui.process("config", **variables)).out


async def _python(tui: Tui, program: str, *arguments: str) -> Answer:
    process = await tui.start(*arguments, program=("-c", program))
    out, err = await process.communicate()
    return Answer(process.returncode or 0, out.decode(), err.decode())


async def _shell(tui: Tui, command: str) -> Answer:
    process = await asyncio.create_subprocess_shell(
        command,
        env={"PATH": os.environ["PATH"], **tui.variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Answer(process.returncode or 0, out.decode(), err.decode())


async def _terminal(tui: Tui, arguments: list[str], width: int, **variables: str) -> str:
    """What a command writes to a terminal of this width."""
    ours, its = os.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "embedq_tui",
        *arguments,
        env={
            "PATH": os.environ["PATH"],
            "TERM": "xterm-256color",
            "COLUMNS": str(width),
            **tui.variables,
            **variables,
        },
        stdout=its,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(its)
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                data = os.read(ours, 65_536)
            except OSError:  # how Linux tells that the other side is closed
                return
            if not data:
                return
            shown.extend(data)

    await asyncio.gather(asyncio.to_thread(read), process.wait())
    os.close(ours)
    assert process.stderr is not None
    assert process.returncode in (0, 1), (await process.stderr.read()).decode()
    return shown.decode()
