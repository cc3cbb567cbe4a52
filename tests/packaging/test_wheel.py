"""What is installed works: a wheel built from the sdist, in a clean environment, away from the checkout."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.packaging.requirements import needed_by
from tests.support.databases import Database

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements" / "constraints.txt"


@dataclass(frozen=True, slots=True)
class Installation:
    """A way to have the program.

    Attributes:
        python: The interpreter.
        home: Where the program must come from.
        variables: Environment it needs.
    """

    python: Path
    home: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    async def run(self, folder: Path, *arguments: str, **variables: str) -> str:
        """Run Python in a folder and return what it printed.

        Args:
            folder: Working directory.
            arguments: For Python.
            variables: For the environment.
        """
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        process = await asyncio.create_subprocess_exec(
            self.python,
            *arguments,
            cwd=folder,
            env={**environment, **self.variables, **variables},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await process.communicate()
        assert process.returncode == 0, told.decode()
        return told.decode()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with an sdist and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    # The build backend of the lock, instead of one fetched anew each time.
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheel with what it asks for, lent by the environment of these tests, and nothing else."""
    clean = _clean(tmp_path_factory.mktemp("clean"))
    (file,) = built.glob("*.whl")
    _pip(clean.python, "--no-deps", "--no-index", file)
    (packages,) = clean.home.glob("lib/python*/site-packages")
    (ours,) = distributions(name="embedq-tui", path=[str(packages)])
    for lent in needed_by(Requirement(line) for line in ours.requires or ()).values():
        for name in {path.parts[0] for path in lent.files or ()} - {"..", "__pycache__"}:
            if not (packages / name).exists():
                (packages / name).symlink_to(str(lent.locate_file(name)))
    return clean


@pytest.fixture
def installed(built: Path, tmp_path: Path) -> Installation:
    """The wheel as pip installs it, with what it asks for."""
    clean = _clean(tmp_path / "installed")
    (file,) = built.glob("*.whl")
    _pip(clean.python, "--constraint", LOCK, file)
    return clean


@pytest.fixture
def editable() -> Installation:
    """What `make` installs: the environment of these tests."""
    return Installation(Path(sys.executable), ROOT)


@pytest.fixture
def checkout(wheel: Installation, tmp_path: Path) -> Installation:
    """A checkout that nobody installed; its dependencies come from elsewhere."""
    home = tmp_path / "checkout"
    for part in ("embedq_tui", "worker", "sql"):
        shutil.copytree(ROOT / part, home / part)
    return Installation(wheel.python, home, {"PYTHONPATH": f"{home}:{home}/worker"})


@pytest.mark.parametrize(
    "way", ["wheel", "editable", "checkout", pytest.param("installed", marks=pytest.mark.slow)]
)
async def test_migrates_a_database(
    way: str, request: pytest.FixtureRequest, empty_database: Database, tmp_path: Path
) -> None:
    installation: Installation = request.getfixturevalue(way)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = await installation.run(elsewhere, "-c", "import embedq_worker; print(embedq_worker.__file__)")
    assert Path(where.strip()).is_relative_to(installation.home)
    await installation.run(elsewhere, "-m", "embedq_tui", "--migrate", DATABASE_URL=empty_database.url)
    connection = await empty_database.connect()
    try:
        applied = await connection.fetchval("SELECT count(*) FROM embedq_migrations")
        assert applied == len(list((ROOT / "sql").glob("*.up.sql")))
        assert await connection.fetchval("SELECT count(*) FROM embedding_tasks") == 0
    finally:
        await connection.close()


async def test_the_scripts_start(wheel: Installation, tmp_path: Path) -> None:
    for script in ("embedq-tui", "embedq-worker"):
        await wheel.run(tmp_path, str(wheel.home / "bin" / script), "--help")
        assert (wheel.home / "share" / "man" / "man1" / f"{script}.1").is_file()
        assert (wheel.home / "share" / "bash-completion" / "completions" / script).is_file()


async def test_the_console_has_its_style_sheets(
    wheel: Installation, empty_database: Database, tmp_path: Path
) -> None:
    program = """
import asyncio
from embedq_tui.console.app import Console
from embedq_tui.desk import Options
from embedq_tui.profiles import Profile
from embedq_tui.screens import ENTRIES
async def main():
    app = Console(Profile().settings(), Profile(), Options("me@here"))
    async with app.run_test() as pilot:
        for entry in ENTRIES:
            await pilot.press(entry.key)
            print(app.current_mode)
asyncio.run(main())
"""
    shown = await wheel.run(tmp_path, "-c", program, DATABASE_URL=empty_database.url)
    assert len(shown.split()) == 9


async def test_what_it_does_not_ask_for_is_not_there(wheel: Installation, tmp_path: Path) -> None:
    program = "from importlib.util import find_spec; print([find_spec(name) for name in ('pytest', 'pyte')])"
    assert await wheel.run(tmp_path, "-c", program) == "[None, None]\n"


async def test_the_demo_names_its_extra(wheel: Installation, tmp_path: Path) -> None:
    program = (
        "from embedq_worker.embedded import default_folder\n"
        "try: default_folder()\n"
        "except Exception as error: print(error)"
    )
    assert "embedq-tui[embedded]" in await wheel.run(tmp_path, "-c", program)


def test_the_sdist_has_what_a_build_needs(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {path.relative_to(ROOT).as_posix() for path in (ROOT / "sql").iterdir()}
    assert wanted | {"LICENSE", "README.md", "pyproject.toml", "worker/embedq_worker/py.typed"} <= inside
    assert not [name for name in inside if name.endswith(".env") or "/.venv" in name]


def test_the_wheel_has_only_the_program(built: Path) -> None:
    (file,) = built.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        inside = set(archive.namelist())
    assert {name.split("/")[0].partition("-")[0] for name in inside} == {"embedq_tui", "embedq_worker"}
    assert {
        "embedq_worker/py.typed",
        "embedq_tui/py.typed",
        "embedq_worker/sql/001_articles.up.sql",
    } <= inside


def _clean(home: Path) -> Installation:
    _run(sys.executable, "-m", "venv", "--without-pip", home)
    return Installation(home / "bin" / "python", home)


def _pip(python: Path, *arguments: str | Path) -> None:
    _run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", *arguments)


def _run(*command: str | Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
