"""The command line of `embedq-worker`, where it ends before it needs a database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from embedq_worker.cli import command
from embedq_worker.errors import READER_GONE


@pytest.fixture(autouse=True)
def _an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(command, arguments, env=variables)


@pytest.mark.parametrize(
    "variable",
    [
        {"EMBEDDING_BATCH_SIZE": "0"},
        {"EMBEDDING_QUEUE_BATCH_SIZE": "many"},
        {"EMBEDDING_PROVIDER": "nobody"},
        {"EMBEDDING_WORKER_INTERVAL": "-1"},
        {"OPENAI_BASE_URL": "localhost:8080"},
        {"CHUNK_OVERLAP": "500"},
        {"DATABASE_URL": "mysql://me:geheim@here/x"},
    ],
    ids=lambda variable: next(iter(variable)),
)
def test_a_bad_setting_ends_it_with_2_and_its_name(variable: dict[str, str]) -> None:
    result = run(**variable)
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert 1 <= len(lines) <= 2
    assert next(iter(variable)) in lines[0]
    assert "geheim" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense"],
        ["--priority", "urgent"],
        ["--batch-size", "0"],
        ["--concurrency", "x"],
        ["extra"],
        ["--folder", ""],
        ["--folder", "\udcff"],
    ],
)
def test_a_wrong_command_line_ends_it_with_2(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 2
    assert not result.stdout


@pytest.mark.parametrize("switch", ["SEMANTIC_SEARCH_ENABLED", "EMBEDDING_QUEUE_ENABLED"])
def test_switched_off_it_says_so_and_ends_with_0(switch: str) -> None:
    result = run(**{switch: "false"})
    assert result.exit_code == 0
    assert switch in result.output


def test_help_and_version_need_nothing() -> None:
    assert run("--help").exit_code == run("--version").exit_code == 0


@pytest.mark.parametrize("flag", ["--help", "--version"])
@pytest.mark.parametrize(("output", "code", "lines"), [("closed pipe", READER_GONE, 0), ("/dev/full", 1, 1)])
def test_an_output_that_is_not_taken(flag: str, output: str, code: int, lines: int) -> None:
    if output == "closed pipe":
        ours, its = os.pipe()
        os.close(ours)
    elif os.path.exists(output):
        its = os.open(output, os.O_WRONLY)
    else:
        pytest.skip("a device of Linux")
    command = [sys.executable, "-P", "-m", "embedq_worker", flag]
    ended = subprocess.run(command, stdout=its, stderr=subprocess.PIPE, check=False)
    os.close(its)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (code, lines)
