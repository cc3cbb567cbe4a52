"""Command lines of flags and junk: an exit code of the contract, a line or two, never a traceback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random, SystemRandom

import click
import pytest
from click.testing import CliRunner

from embedq_tui.cli import BUG, cli
from embedq_worker.cli import command as worker
from embedq_worker.errors import ExitCode
from tests.commands.every_command import leaf_commands
from tests.commands.running import Answer, Tui
from tests.support.databases import Connection

SEED = "EMBEDQ_TEST_SEED"

JUNK = [
    "", "-", "--", "---", "-h", "--help", "-1", "0", "1", "1e9", "9" * 30, "nan", "null", "*", "%", "a b",
    "\x1b[31m", "\u202e", "00000000-0000-4000-8000-000000000000", "not-a-uuid", "pending", "high", "7d", "1h",
    "-5m", "99999999999d", "2026-01-01", "2026-13-45T99:99", "0001-01-01", "9999-12-31T23:59:59+14:00", "{",
    '{"a": 1}', "[" * 5_000, "/etc/passwd", "/dev/null", ".", "x" * 5_000, "'; DROP TABLE articles; --",
    "[/foo]", "id:ab", "@", "\U0001f469\u200d\U0001f4bb", "=", "--=", "--json=1",
]  # fmt: skip
NEVER = {"demo", "completion"}
"""The one starts a server, the other writes a script."""
ENDLESS = {"--follow", "--watch", "-f"}
"""Flags of commands that go on until they are interrupted."""


def flags(line: tuple[str, ...]) -> list[str]:
    """Every flag of a command."""
    found: click.Command = cli
    for word in line:
        assert isinstance(found, click.Group)
        following = found.get_command(click.Context(found), word)
        assert following is not None
        found = following
    return [
        name
        for option in found.params
        for name in option.opts
        if name.startswith("-") and name not in ENDLESS
    ]


def lines(random: Random, count: int) -> Iterator[list[str]]:
    """Command lines, some of which mean something."""
    commands = [line for line in leaf_commands() if line[0] not in NEVER]
    for _ in range(count):
        line = random.choice(commands)
        words = [*line]
        offered = [*flags(line), *flags(()), *JUNK]
        for _ in range(random.choice((0, 1, 1, 2, 2, 3, 5))):
            words.append(random.choice(offered if random.random() < 0.7 else JUNK))
            if words[-1].startswith("--") and random.random() < 0.3:
                words[-1] += f"={random.choice(JUNK)}"
        if line[0] == "monitor":
            words.append("--once")
        if random.random() < 0.1:
            random.shuffle(words)
        yield words


def good(answer: Answer) -> bool:
    return (
        answer.code in set(ExitCode)
        and answer.code != BUG
        and "Traceback" not in answer.err
        and "internal error" not in answer.err
        and (answer.code != ExitCode.USAGE or len(answer.complaint) <= 2 or "Usage" in answer.err)
        and "\x1b" not in answer.err
    )


async def try_all(tui: Tui, random: Random, count: int) -> list[str]:
    wrong = []
    for words in lines(random, count):
        if set(words) & {"--debug", "--follow", "--watch"} or any("\x00" in word for word in words):
            continue
        if "monitor" in words and "--once" not in words[words.index("monitor") :]:
            continue
        answer = await tui(*words)
        if not good(answer):
            shown = [word[:40] for word in words]
            wrong.append(f"{shown}: {answer.code} {answer.err[:200]} ... {answer.err[-100:]}")
    return wrong


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["list", "--since", "99999999d"], ExitCode.USAGE),
        (["list", "--until", "0001-01-01T00:00:00+12:00"], ExitCode.USAGE),
        (["audit", "--since", "9999-12-31T23:59:59-12:00"], ExitCode.USAGE),
        (["metrics", "--since", "9999-12-31T23:59:59-12:00"], ExitCode.USAGE),
        (["list", "--article", "9" * 10], ExitCode.USAGE),
        (["article", "9" * 5_000], ExitCode.NO),
        (["audit", "--article", "9" * 5_000], ExitCode.NO),
        (["queue", "9" * 5_000], ExitCode.NO),
        (["reset-stuck", "--minutes", "9" * 400], ExitCode.USAGE),
        (["monitor", "--once", "--interval", "nan"], ExitCode.USAGE),
        (["stop", "--timeout", "nan"], ExitCode.USAGE),
        (["retry", "--failed", "--staged", "--stage-timeout", "nan"], ExitCode.USAGE),
    ],
)
async def test_numbers_and_times_beyond_all_bounds(tui: Tui, words: list[str], code: ExitCode) -> None:
    answer = await tui(*words)
    assert good(answer)
    assert answer.code == code


async def test_no_command_line_is_too_odd(tui: Tui) -> None:
    wrong = await try_all(tui, Random(11), 500)
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_no_command_line_is_too_odd_at_random(tui: Tui, connection: Connection) -> None:
    seed = int(os.environ.get(SEED) or SystemRandom().randrange(2**32))
    print(f"{SEED}={seed}")
    wrong = await try_all(tui, Random(seed), 4_000)
    assert not wrong, "\n".join(wrong)


def test_no_command_line_of_the_worker_is_too_odd(anywhere: Tui) -> None:
    """Nothing listens where it looks for its database."""
    random = Random(13)
    offered = [
        name for option in worker.params for name in option.opts if name not in ("--lifeline", "--debug")
    ] + JUNK
    for _ in range(120):
        words = random.choices(offered, k=random.randrange(1, 6))
        process = CliRunner().invoke(worker, words, env=anywhere.variables)
        assert process.exit_code in set(ExitCode), (words, process.output, process.exception)
        assert process.exception is None or isinstance(process.exception, SystemExit), (
            words,
            process.exception,
        )
