"""What the README says to type is typed, its figures are those of the benches, its links lead somewhere."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.support.content import add_articles
from tests.support.databases import Database

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
LINES = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]

ELSEWHERE = {
    "make test": "is what runs this",
    ".venv/bin/embedq-tui demo --busy": "opens the console: tests/console/test_terminal.py",
    "pip install 'embedq-tui[local]'": "test_wheel.py installs the wheel",
    "embedq-tui": "opens the console: tests/console/test_terminal.py",
    "embedq-worker --concurrency 4 --batch-size 50": "works until it is stopped: test_worker_process.py",
    "docker compose -f worker/compose.yaml up --build": "test_deployment.py reads the files",
    "systemctl enable --now embedq-worker": "test_deployment.py reads the unit; systemd is the machine's",
}
"""Lines that are not typed here, and why."""

DEMO = ("make demo", ".venv/bin/embedq-tui demo --headless")


async def typed(line: str, folder: Path, **variables: str) -> None:
    """Type a line into a shell; it has to succeed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        line,
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), **variables},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    assert process.returncode == 0, f"{line}\n{told.decode()}"


def test_every_line_is_typed_or_has_a_reason() -> None:
    assert len(LINES) > 15
    assert set(ELSEWHERE) | set(DEMO) <= set(LINES)


async def test_the_lines_about_a_database_work_one_after_the_other(
    empty_database: Database, tmp_path: Path
) -> None:
    variables: dict[str, str] = {}
    for line in LINES:  # some seconds: nine programs start, as they would
        if line.startswith("export "):
            name, _, value = shlex.split(line)[1].partition("=")
            variables[name] = empty_database.url if name == "DATABASE_URL" else value
        elif line not in ELSEWHERE and line not in DEMO:
            await typed(line, tmp_path, **variables)
            if line == "embedq-tui --migrate":  # the articles of the program that was there before
                connection = await empty_database.connect()
                await add_articles(connection, ["Undo takes a change back.", "Search finds."])
                await connection.close()
    connection = await empty_database.connect()
    assert await connection.fetchval("SELECT count(DISTINCT article_id) FROM embeddings") == 2
    await connection.close()


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".venv").exists(), reason="make made no .venv here")
async def test_the_demo(empty_database: Database) -> None:
    for line in DEMO:
        if line != DEMO[0]:  # what `demo --busy` in between left behind
            connection = await empty_database.connect()
            await connection.execute(
                "INSERT INTO embedding_tasks (operation, status) VALUES ('update', 'failed')"
            )
            await connection.close()
        more = " ARGS=--yes" if line.startswith("make") else " --yes"
        await typed(line + more, ROOT, DATABASE_URL=empty_database.url)


def test_its_figures_are_those_of_the_benches() -> None:
    table = README.split("## Figures")[1].split("\n## ")[0]
    figures = re.findall(r"\|\s*([\d.,]+)[^|]*\|$", table, re.MULTILINE)
    assert len(figures) > 2
    pages = ("bench/README.md", "docs/reliability.md")
    benches = "".join((ROOT / page).read_text("utf-8") for page in pages)
    assert [
        figure for figure in figures if not re.search(rf"(?<![\d.,]){re.escape(figure)}(?!\d)", benches)
    ] == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "bench/README.md"])
def test_its_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)]
    here = (ROOT / page).parent
    assert [target for target in targets if target and not (here / target).exists()] == []
