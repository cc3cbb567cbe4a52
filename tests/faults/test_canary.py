"""Secrets that are planted and looked for wherever something can be written: they must be nowhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import cast
from urllib.parse import quote

import httpx
import psutil
import pytest
from pydantic import SecretStr

from embedq_tui.console.app import Console
from tests.commands.every_command import CALLS, Furnished, furnish
from tests.commands.running import Tui
from tests.console.running import console, enter, until_text
from tests.support.console_process import Opened
from tests.support.content import queued_articles
from tests.support.databases import Connection, Database
from tests.support.provider_stub import Fault, ProviderStub
from tests.support.terminal import terminal
from tests.support.waiting import until
from tests.support.worker_process import WorkerProcess, environment, run_worker_process, worker_process

CANARY = "kanarie"
"""Part of every secret."""

KEY = f"sk-{CANARY}-0f7e31"
PASSWORD = f'{CANARY}-9d/2"1'
QUERY = f"{CANARY}sig"


def found_in(where: str, text: str | bytes) -> list[str]:
    """Where a secret is, as a list of at most one place."""
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    place = text.lower().find(CANARY)
    return [] if place < 0 else [f"{where}: {text[max(place - 80, 0) : place + 40]!r}"]


def with_password(url: str) -> str:
    """The URL of a database that asks for none, with one."""
    return url.replace("://postgres@", f"://postgres:{quote(PASSWORD, safe='')}@")


def variables_of(database: Database, stub: ProviderStub, **values: object) -> dict[str, str]:
    """An environment full of secrets."""
    return environment(
        database,
        stub,
        DATABASE_URL=with_password(database.url),
        DB_PASSWORD=PASSWORD,
        PGPASSWORD=PASSWORD,
        OPENAI_API_KEY=KEY,
        OPENAI_BASE_URL=f"{stub.openai_url}?sig={QUERY}",
        OLLAMA_BASE_URL=f"http://joe:{CANARY}@127.0.0.1:1",
        LOG_LEVEL="debug",
        **values,
    )


def blab(stub: ProviderStub, status: int) -> None:
    """Let the provider repeat what it was told, as some do."""
    stub.faults.fault, stub.faults.status = Fault.STATUS, status
    told = f"{KEY} is wrong, see {stub.openai_url}?sig={QUERY} Bearer {KEY}"
    stub.faults.body = json.dumps({"error": {"message": told}})


async def rows_of(connection: Connection) -> dict[str, str]:
    """Every row of every table and view of ours, by its name."""
    names = await connection.fetch(
        """SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE c.relkind IN ('r', 'v', 'm') AND n.nspname = 'public'"""
    )
    found = {}
    for row in names:
        rows = await connection.fetch(f"SELECT t::text AS line FROM {row['name']} t")
        found[row["name"]] = "\n".join(line["line"] for line in rows)
    return found


def command_lines() -> str:
    """What `ps` shows of every process."""
    lines = []
    for process in psutil.process_iter():
        try:
            lines.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return "\n".join(lines)


async def search_database(connection: Connection) -> list[str]:
    return [place for name, rows in (await rows_of(connection)).items() for place in found_in(name, rows)]


async def failing(worker: WorkerProcess, stub: ProviderStub, connection: Connection) -> None:
    """Let the provider refuse and break while a worker asks it."""
    for status in (500, 401, 400):
        blab(stub, status)
        await connection.execute("UPDATE embedq_providers SET state = 'closed', failures = 0")
        asked = stub.seen.requests
        await queued_articles(connection, 2, slug=f"status-{status}")
        await until(lambda asked=asked: stub.seen.requests > asked, within_s=20)  # type: ignore[misc]


async def test_a_worker_tells_no_secret(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    wrong = []
    variables = variables_of(database, stub, EMBEDDING_METRICS_PORT=0, EMBEDDING_WORKER_INTERVAL=50)
    async with worker_process(variables, "--debug") as worker:
        await worker.started()
        await failing(worker, stub, connection)
        sockets = psutil.Process(worker.pid).net_connections()
        [port] = [one.laddr for one in sockets if one.status == psutil.CONN_LISTEN]
        assert port.ip == "127.0.0.1"  # told by nobody where to listen
        async with httpx.AsyncClient(trust_env=False) as client:
            for path in ("/metrics", "/healthz", "/readyz"):
                answer = await client.get(f"http://127.0.0.1:{port.port}{path}")
                wrong += found_in(path, answer.text)
        wrong += found_in("command lines", command_lines())
        await worker.stop()
        wrong += found_in("log", worker.text)
    assert stub.seen.authorizations[-1] == f"Bearer {KEY}"
    wrong += await search_database(connection)
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["plain", "debug"])
@pytest.mark.parametrize("form", ["text", "json"])
async def test_a_worker_that_cannot_begin_tells_no_secret(
    database: Database, stub: ProviderStub, form: str, debug: list[str]
) -> None:
    secrets = variables_of(database, stub, LOG_FORMAT=form)
    for wrong in (
        {"DATABASE_URL": f"postgresql://me:{quote(PASSWORD, safe='')}@127.0.0.1:1/x"},
        {"DATABASE_URL": f"postgresql://me:{PASSWORD}@@h:x/y"},
        {"DATABASE_URL": f"{with_password(database.url)}_not"},
        {"OPENAI_API_KEY": f"{KEY}\u00e9 x"},
        {"OPENAI_BASE_URL": f"http://joe:{CANARY}#@h"},
    ):
        code, worker = await run_worker_process(secrets | wrong, "--drain", *debug)
        assert code != 0
        assert found_in(str(wrong.keys()), worker.text) == []


@pytest.fixture
def tui(anywhere: Tui, database: Database, stub: ProviderStub) -> Tui:
    anywhere.variables |= variables_of(database, stub)
    return anywhere


async def tell(tui: Tui, lines: Iterable[list[str]]) -> list[str]:
    wrong = []
    for line in lines:
        for form in ([], ["--json"]):
            answer = await tui(*line, *form)
            wrong += found_in(" ".join([*line, *form]), answer.out + answer.err)
    return wrong


async def test_commands_tell_no_secret(
    tui: Tui, connection: Connection, stub: ProviderStub, tmp_path: Path
) -> None:
    furnished = await furnish(tui, connection, tmp_path)
    blab(stub, 401)
    names = [name for name in CALLS if name not in ("demo", "monitor", "completion", "migrate rollback")]
    wrong = await tell(tui, [furnished.line(name) for name in names])
    wrong += await search_database(connection)
    assert wrong == []


@pytest.mark.slow
async def test_commands_that_fail_tell_no_secret_in_a_traceback_either(tui: Tui, stub: ProviderStub) -> None:
    ids = Furnished({"OPERATION": "x", "UNDOABLE": "x", "FILE": "x"})
    wrong = []
    for url in (
        f"postgresql://me:{quote(PASSWORD, safe='')}@127.0.0.1:1/x",
        f"postgresql://me:{PASSWORD}@@h:x/y",
    ):
        tui.variables["DATABASE_URL"] = url
        wrong += await tell(
            tui, [ids.line(name) for name in ("status", "list", "check", "migrate", "config")]
        )
        for name in ("status", "check"):
            answer = await tui.process(name, "--debug")
            wrong += found_in(f"{name} --debug", answer.out + answer.err)
    assert wrong == []


@pytest.mark.slow
async def test_pictures_and_exports_of_the_console_hold_no_secret(
    database: Database, connection: Connection, stub: ProviderStub, tmp_path: Path
) -> None:
    blab(stub, 401)
    await queued_articles(connection, 2)
    await run_worker_process(variables_of(database, stub), "--drain")
    settings = database.settings.model_copy(
        update={
            "database_url": SecretStr(with_password(database.url)),
            "openai_api_key": SecretStr(KEY),
            "openai_base_url": f"{stub.openai_url}?sig={QUERY}",
            "provider": "openai",
        }
    )
    wrong = []
    async with console(settings, (160, 60)) as pilot:
        app = cast(Console, pilot.app)
        for key in "123456789":
            await pilot.press(key)
            asked = app.desk.session.store.answers
            questions = set(app.shown.questions() if app.shown else ())
            await until(lambda questions=questions, asked=asked: questions <= asked.keys())  # type: ignore[misc]
            await pilot.pause()
            wrong += found_in(f"picture of {key}", app.export_screenshot())
            wrong += found_in(f"answers of {key}", repr([answer.value for answer in asked.values()]))
        await pilot.press("2", "e")
        await until_text(pilot, "Export tasks")
        await enter(pilot, str(tmp_path / "tasks.json"))
        await until_text(pilot, "rows written")
    wrong += found_in("export", (tmp_path / "tasks.json").read_text("utf-8"))
    assert wrong == []


def files_in(folder: Path) -> tuple[set[str], list[str]]:
    """Names of the files, which are their owner's alone, and where they hold a secret."""
    names, wrong = set(), []
    for path in folder.rglob("*"):
        if path.is_file():
            names.add(path.name)
            wrong += found_in(str(path), path.read_bytes())
            assert path.stat().st_mode & 0o077 == 0, path
    return names, wrong


@pytest.mark.slow
async def test_a_console_on_a_terminal_writes_no_secret_and_its_files_are_its_own(
    database: Database, connection: Connection, stub: ProviderStub, tmp_path: Path
) -> None:
    variables = variables_of(database, stub, LOG_FORMAT="text")
    variables |= {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "LANG": "C.UTF-8"}
    await queued_articles(connection, 1, slug="hostile\x1b]52;c;aGk=\x07\x9b2J")
    blab(stub, 401)
    async with terminal(["-m", "embedq_tui"], variables, columns=120, lines=40) as program:
        await program.until(lambda text: "live" in text and "pending" in text, within_s=30)
        opened = Opened(program, tmp_path)
        worker = await opened.start_worker()
        await until(lambda: stub.seen.requests > 0, within_s=20)
        for key, shows in (("9", "Next tab"), ("6", "worker_status"), ("2", "hostile")):
            await opened.press(key, shows)
        await opened.press("e", "Export tasks")
        program.type("\x15")
        await program.until(lambda text: "tasks-20" not in text)
        await opened.press(str(tmp_path / "tasks.csv"), "tasks.csv")
        program.type("\r")
        await until(lambda: (tmp_path / "tasks.csv").is_file())
        await program.until(lambda text: "Export tasks" not in text)
        wrong = found_in("command lines", command_lines())
        await opened.press("q", "Leave it running")
        program.type("\x1b[B\r")
        await program.ended()
        wrong += found_in("terminal", bytes(program.received))
        assert b"\x1b]52" not in program.received
        assert b"\x9b2J" not in program.received
        worker.terminate()
        await asyncio.to_thread(psutil.wait_procs, [worker], 20)
    names, places = files_in(tmp_path)
    assert names >= {"tasks.csv", f"worker-{worker.pid}.log"}
    wrong += places
    wrong += await search_database(connection)
    assert wrong == []
