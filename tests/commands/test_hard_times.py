"""Every command where the database, its rights, or whoever reads the output is not as it should be."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from embedq_worker.errors import INTERRUPTED, READER_GONE, ExitCode
from embedq_worker.queue.counts import count_drift
from tests.commands.every_command import CALLS, Furnished, Kind, leaf_commands
from tests.commands.running import Answer, Tui, as_role
from tests.support.databases import Connection, Server
from tests.support.legacy import make_legacy

LOOKING = [name for name, call in CALLS.items() if call.kind is Kind.LOOKS]
CHANGING = [name for name, call in CALLS.items() if call.kind is Kind.CHANGES]
ASKING = [*LOOKING, *CHANGING]
IDLE = ["triggers remove", "concurrency", "migrate", "migrate up"]
"""Have nothing to change in a database that `furnish` made."""

NEEDS_NO_RIGHT = ["triggers status", "triggers remove"]
"""Look into the catalog, which everybody may read."""

READER = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
READ_ONLY = """GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};
               ALTER ROLE {role} SET default_transaction_read_only = on"""
NO_RIGHTS = "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}"


BEGUN = ["-c", "from embedq_tui.__main__ import main; print('begun', flush=True); main()"]
"""Python has come up, and whatever is interrupted from here on is ours."""


@pytest.fixture
def wrong() -> Iterator[list[str]]:
    """What was not as it should be, told together at the end."""
    found: list[str] = []
    yield found
    assert not found, "\n\n".join(found)


def told(answer: Answer, *, least: int = 1, commands: int = 1) -> bool:
    """Whether it complains in one or two lines, of which none is of a traceback or of a bug.

    Args:
        answer: Of the command.
        least: 0 where it need not complain.
        commands: That ran at once in this process: what they print is mixed.
    """
    return (
        least <= len(answer.complaint) <= 2 * commands
        and all(line.strip() for line in answer.complaint)
        and "Traceback" not in answer.err
        and "internal error" not in answer.err
    )


def test_every_command_is_tried() -> None:
    assert set(CALLS) == {" ".join(line) for line in leaf_commands()} - {"triggers"}  # which only has others


@pytest.mark.parametrize("reason", ["nobody listens", "no such database", "no such role"])
async def test_a_database_that_is_not_reached(
    hard: Tui, wrong: list[str], tmp_path: Path, reason: str
) -> None:
    url = str(hard.variables["DATABASE_URL"])
    hard.variables["DATABASE_URL"] = {
        "nobody listens": "postgresql://nobody@127.0.0.1:1/nothing",
        "no such database": f"{url}_none",
        "no such role": url.replace("://postgres@", "://embedq_nobody@"),
    }[reason]
    (tmp_path / "page.md").write_text("# Page\n\nText.\n", "utf-8")
    nothing = Furnished(
        {"OPERATION": str(uuid4()), "UNDOABLE": str(uuid4()), "FILE": str(tmp_path / "page.md")}
    )
    for name in CALLS:
        answer = await hard(*nothing.line(name))
        if CALLS[name].kind is Kind.NOTHING:
            good = answer.code == ExitCode.OK and not answer.err
        else:
            good = answer.code == ExitCode.UNREACHABLE and (told(answer) or name == "check")
        if not good:
            wrong.append(f"{name}: {answer}")


@pytest.mark.parametrize("found", ["nothing", "tables of another program"])
async def test_a_database_without_our_tables(
    hard: Tui, server: Server, wrong: list[str], tmp_path: Path, found: str
) -> None:
    (tmp_path / "page.md").write_text("# Page\n\nText.\n", "utf-8")
    ids = Furnished({"OPERATION": str(uuid4()), "UNDOABLE": str(uuid4()), "FILE": str(tmp_path / "page.md")})
    async with server.new_database() as bare:
        hard.variables["DATABASE_URL"] = bare.url
        if found != "nothing":
            await make_legacy(await bare.connect(), "plain")
        for name in ASKING:
            if CALLS[name].migrates:
                continue
            answer = await hard(*ids.line(name))
            allowed = {CALLS[name].on_bare} if found == "nothing" else {ExitCode.OK, ExitCode.NO}
            if answer.code not in allowed or not told(answer, least=answer.code if not answer.out else 0):
                wrong.append(f"{name}: {answer}")
        assert (await hard("migrate")).code == ExitCode.OK


@pytest.mark.parametrize("rights", [READER, READ_ONLY], ids=["reader", "read-only"])
async def test_a_role_that_may_only_read(
    hard: Tui, connection: Connection, furnished: Furnished, wrong: list[str], rights: str
) -> None:
    before = await contents(connection)
    for name in LOOKING:
        as_owner = await hard(*furnished.line(name))
        async with as_role(hard, connection, rights):
            answer = await hard(*furnished.line(name))
        expected = ExitCode.NO if name == "check" else as_owner.code
        if answer.code != expected or answer.err != as_owner.err:
            wrong.append(f"{name}: {answer}, but as the owner {as_owner}")
    async with as_role(hard, connection, rights):
        for name in CHANGING:
            answer = await hard(*furnished.line(name))
            if answer.code != (ExitCode.OK if name in IDLE else ExitCode.NO) or not told(
                answer, least=0 if name in IDLE else 1
            ):
                wrong.append(f"{name}: {answer}")
    assert await contents(connection) == before


async def test_a_role_without_rights(
    hard: Tui, connection: Connection, furnished: Furnished, wrong: list[str]
) -> None:
    before = await contents(connection)
    async with as_role(hard, connection, NO_RIGHTS):
        for name in ASKING:
            answer = await hard(*furnished.line(name))
            if name in NEEDS_NO_RIGHT:
                good = (answer.code, answer.err) == (ExitCode.OK, "")
            else:
                good = answer.code == ExitCode.NO and told(answer, least=0 if answer.out else 1)
            if not good:
                wrong.append(f"{name}: {answer}")
    assert await contents(connection) == before


async def contents(connection: Connection) -> list[str]:
    """Articles and tasks, and the orders to the workers."""
    rows = await connection.fetch(
        """SELECT t::text AS row FROM embedding_tasks t UNION ALL SELECT a::text FROM articles a
           UNION ALL SELECT c::text FROM embedq_control c ORDER BY 1"""
    )
    return [row["row"] for row in rows]


@contextmanager
def writing_to(file: int) -> Iterator[None]:
    """Commands write to this file, which does not take it."""
    with open(file, "w") as stream:
        before, sys.stdout = sys.stdout, stream
        try:
            yield
        finally:
            sys.stdout = before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
async def test_a_full_disk(hard: Tui, connection: Connection, furnished: Furnished, wrong: list[str]) -> None:
    for name in CALLS:
        with writing_to(os.open("/dev/full", os.O_WRONLY)):
            answer = await hard(*furnished.line(name))
        if answer.code != ExitCode.NO or not told(answer):
            wrong.append(f"{name}: {answer}")
    await hard("migrate")  # one of them took it all back
    assert not await count_drift(connection)


async def test_a_reader_that_goes_away(
    hard: Tui, connection: Connection, furnished: Furnished, wrong: list[str]
) -> None:
    for name in CALLS:
        ours, its = os.pipe()
        os.close(ours)
        with writing_to(its):
            answer = await hard(*furnished.line(name))
        if answer.code != READER_GONE or answer.err:
            wrong.append(f"{name}: {answer}")
    await hard("migrate")
    assert not await count_drift(connection)


async def test_an_output_that_is_closed(
    hard: Tui, furnished: Furnished, wrong: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for line in [*map(furnished.line, CALLS), ["metrics", "--plot"]]:
        with monkeypatch.context() as closed:
            closed.setattr(sys, "stdout", None)
            answer = await hard(*line)
        if answer.code not in (ExitCode.OK, ExitCode.NO) or not told(answer, least=0):
            wrong.append(f"{line}: {answer}")


async def test_two_at_once(hard: Tui, connection: Connection, furnished: Furnished, wrong: list[str]) -> None:
    for name in ASKING:
        answers = await asyncio.gather(*(hard(*furnished.line(name)) for _ in range(2)))
        codes = {answer.code for answer in answers}
        if not codes <= {ExitCode.OK, ExitCode.NO} or not all(
            told(answer, least=0, commands=2) for answer in answers
        ):
            wrong.append(f"{name}: {answers}")
    await hard("migrate")
    assert not await count_drift(connection)


@pytest.mark.slow
async def test_ctrl_c_at_any_moment(
    hard: Tui, connection: Connection, furnished: Furnished, wrong: list[str]
) -> None:
    async def interrupted(name: str) -> None:
        after_s = random.uniform(0.02, 0.5)
        async with two_at_a_time:
            process = await hard.start(*furnished.line(name), program=BEGUN)
            assert process.stdout is not None
            assert await process.stdout.readline() == b"begun\n"
            await asyncio.sleep(after_s)
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGINT)  # send_signal would first look for its end, and keep it
            out, err = await process.communicate()
        answer = Answer(process.returncode or 0, out.decode(), err.decode())
        if answer.code not in (ExitCode.OK, ExitCode.NO, INTERRUPTED, -signal.SIGINT) or not told(
            answer, least=0
        ):
            wrong.append(f"{name} after {after_s:.3f} s: {answer}")

    two_at_a_time = asyncio.Semaphore(2)
    await asyncio.gather(*map(interrupted, CALLS))
    await hard("migrate")
    assert not await count_drift(connection)
