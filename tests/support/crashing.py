"""A PostgreSQL server that can be killed and restarted, as by a crash of its machine."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

import asyncpg

from tests.support.databases import Connection, Server, inspect
from tests.support.postgres import Binaries, running_server

_DURABLE = ("synchronous_commit = on", "full_page_writes = on", "autovacuum_naptime = '15s'")
"""A commit that was acknowledged outlives the death of the server's processes; not that of the machine."""


@dataclass
class CrashingServer:
    """The server.

    Attributes:
        server: What it is and where.
        folder: Folder of its data.
        port: Its port, the same before and after a restart.
    """

    server: Server
    folder: Path
    port: str
    _postmaster: asyncio.subprocess.Process | None = field(default=None)

    @property
    def restarted(self) -> bool:
        """Whether the running server was started here."""
        return self._postmaster is not None and self._postmaster.returncode is None

    @property
    def pid(self) -> int:
        """Process ID of the postmaster."""
        return int((self.folder / "postmaster.pid").read_text().split()[0])

    async def end(self, number: signal.Signals) -> None:
        """Stop it, and wait until all its processes are gone.

        Args:
            number: SIGINT for what a machine does when it is shut down, SIGQUIT for an immediate shutdown,
                SIGKILL for the end of the postmaster alone, which its processes notice.
        """
        pid = self.pid
        os.kill(pid, number)
        if self._postmaster is not None:
            await self._postmaster.wait()
            self._postmaster = None
        async with asyncio.timeout(30):
            while _lives(pid):  # noqa: ASYNC110 - another program's state
                await asyncio.sleep(0.02)

    async def start(self) -> None:
        """Restart it, and wait until it accepts connections."""
        program, *arguments = shlex.split((self.folder / "postmaster.opts").read_text())
        async with asyncio.timeout(60):
            while True:
                self._postmaster = await asyncio.create_subprocess_exec(
                    program,
                    *arguments,
                    user=self.folder.stat().st_uid,
                    cwd=self.folder.parent,
                    env={"PATH": os.defpath, "PGPORT": self.port},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
                if await self.accepts():
                    return
                await asyncio.sleep(0.1)  # processes of the one before still hold its memory

    def copy(self) -> Path:
        """Copy its data while it is stopped; the copy is removed with the server."""
        target = Path(mkdtemp(dir=self.folder.parent))
        _copy(self.folder, target)
        return target

    def put_back(self, copy: Path) -> None:
        """Have a copy's data instead of its own, while it is stopped."""
        for one in self.folder.iterdir():
            shutil.rmtree(one) if one.is_dir() else one.unlink()
        _copy(copy, self.folder)

    async def accepts(self) -> bool:
        """Wait until it accepts connections; False if it ended instead."""
        while self._postmaster is None or self._postmaster.returncode is None:
            try:
                connection = await asyncpg.connect(self.server.url)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(0.05)
            else:
                await connection.close()
                return True
        return False


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", f"{source}/.", target], check=True)  # shutil would not keep the owner


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@asynccontextmanager
async def crashing_server(binaries: Binaries) -> AsyncIterator[CrashingServer]:
    """Start a separate server with a migrated template; it is removed at the end.

    Args:
        binaries: What to start.
    """
    with running_server(binaries) as url:
        server = await inspect(url)
        connection: Connection
        async with server.administration() as connection:
            for setting in _DURABLE:
                await connection.execute(f"ALTER SYSTEM SET {setting}")
            await connection.execute("SELECT pg_reload_conf()")
            folder, port = [await connection.fetchval(f"SHOW {name}") for name in ("data_directory", "port")]
        await server.make_template()
        crashing = CrashingServer(server, Path(folder), port)
        try:
            yield crashing
        finally:
            if crashing.restarted:
                await crashing.end(signal.SIGQUIT)
