"""The server of one folder: initialising, starting, joining and stopping it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from embedq_worker.embedded import START_OVER
from embedq_worker.embedded.programs import Programs, give, last_line
from embedq_worker.errors import EmbedqError

_SOCKET = ".s.PGSQL.5432"
_SOCKET_PATH_BYTES = 103
"""The lowest limit of all systems (macOS: 104 including the final NUL)."""

_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._+-]+")
"""A path that needs no quoting in a list of folders, a command line or a URL."""

_STOP_TIMEOUT_S = 60.0
_READY_TIMEOUT_S = 60.0


class Cluster:
    """The server of one folder.

    Args:
        folder: The folder, created by `keeper.used_server`.
        programs: The programs to run it with.
    """

    def __init__(self, folder: Path, programs: Programs) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._programs = programs
        self._sockets = folder / "sockets"
        self._log = folder / "server.log"
        self._server: subprocess.Popen[str] | None = None

    def initialise(self) -> bool:
        """Create the data folder if there is none; return whether it did.

        Raises:
            EmbedqError: It cannot be created, or belongs to another version.
        """
        for leftover in self.folder.glob("new-*"):  # of a process that was killed here
            shutil.rmtree(leftover, ignore_errors=True)
        if self.data.exists():
            self._check_version()
            return False
        made = Path(tempfile.mkdtemp(prefix="new-", dir=self.folder))
        give(made, self._programs.user)
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"]
        done = self._programs.run("initdb", *options, "-D", made)
        if done.returncode:
            shutil.rmtree(made, ignore_errors=True)
            raise EmbedqError(f"no database can be created in {self.folder}: {last_line(done.stdout)}")
        made.rename(self.data)
        return True

    def start(self) -> str:
        """Start the server unless it is running, and wait until it is ready; return its socket's folder.

        Raises:
            EmbedqError: It does not start, or does not answer in time.
        """
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.is_running():
                lines = self._pid_file()
                if lines[7:] == ["ready"]:
                    return lines[4]
            elif self._server is None:
                self._start()
            elif self._server.poll() is not None:
                self._remove_socket_folder()
                told = last_line(self._log.read_text(errors="replace"))
                raise EmbedqError(f"PostgreSQL in {self.folder} does not start: {told}", f"see {self._log}")
            time.sleep(0.02)
        raise EmbedqError(f"PostgreSQL in {self.folder} did not become ready in time", f"see {self._log}")

    def stop(self) -> None:
        """Stop the server and wait for its end; does nothing if it is not running."""
        if not self.is_running():
            return
        pid = int(self._pid_file()[0])
        for number in (signal.SIGINT, signal.SIGQUIT):  # PostgreSQL's "fast" and "immediate"
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            deadline = time.monotonic() + _STOP_TIMEOUT_S
            while self.is_running() and time.monotonic() < deadline:
                time.sleep(0.02)
        self._remove_socket_folder()

    def is_running(self) -> bool:
        """Whether the process in the pid file is this server, not another one that reuses its pid."""
        if self._server:
            self._server.poll()  # reaps a child that has ended
        try:
            return Path(psutil.Process(int(self._pid_file()[0])).cwd()).samefile(self.data)
        except (psutil.Error, OSError, ValueError, IndexError):
            return False

    def _pid_file(self) -> list[str]:
        try:
            text = os.fsdecode((self.data / "postmaster.pid").read_bytes())  # it holds a path
            return [line.strip() for line in text.splitlines()]
        except FileNotFoundError:
            return []

    def _start(self) -> None:
        self._remove_stale_pid_file()
        sockets = self._socket_folder()
        # Left by a killed server; its pid may have been reused, or may still belong to a zombie.
        (sockets / f"{_SOCKET}.lock").unlink(missing_ok=True)
        settings = {
            "listen_addresses": "",
            "port": "5432",
            "unix_socket_directories": str(sockets),
            "unix_socket_permissions": "0700",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        # Without pg_ctl, whose shell command does not quote the path of the folder.
        with self._log.open("w") as log:
            self._server = self._programs.start("postgres", "-D", self.data, *options, output=log)

    def _remove_stale_pid_file(self) -> None:
        """Remove a stale pid file: if the pid was reused, the server would take that for its predecessor."""
        lines = self._pid_file()
        if lines and lines[0].isdigit() and psutil.pid_exists(int(lines[0])):
            (self.data / "postmaster.pid").unlink()

    def _socket_folder(self) -> Path:
        path = str(self.data)
        if _PLAIN_PATH.fullmatch(path) and len(f"{path}/{_SOCKET}") <= _SOCKET_PATH_BYTES:
            return self.data
        if self._sockets.is_dir() and self._sockets.stat().st_uid == self.data.stat().st_uid:
            return self._sockets.resolve()  # left by a killed server
        self._sockets.unlink(missing_ok=True)
        short = [name for name in (tempfile.gettempdir(), "/tmp") if len(name) < _SOCKET_PATH_BYTES // 2]  # noqa: S108
        made = Path(tempfile.mkdtemp(prefix="embedq-", dir=short[0]))
        give(made, self._programs.user)
        self._sockets.symlink_to(made)
        return made

    def _remove_socket_folder(self) -> None:
        with suppress(OSError):
            self._sockets.resolve(strict=True).rmdir()
        # If it is there, a killed server's socket is in it; the next start reuses it.
        if not self._sockets.is_dir():
            self._sockets.unlink(missing_ok=True)

    def _check_version(self) -> None:
        theirs = (self.data / "PG_VERSION").read_text().strip()
        ours = self._programs.run("postgres", "--version").stdout.split()[-1]
        if ours.split(".")[0] != theirs:
            raise EmbedqError(
                f"{self.folder} was created by PostgreSQL {theirs}, but version {ours} is installed",
                START_OVER,
            )
