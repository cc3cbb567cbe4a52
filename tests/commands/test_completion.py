"""`embedq-tui completion`: what the shells complete with the script they are given."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from embedq_worker.errors import ExitCode
from tests.commands.running import Tui

PROGRAM = Path(sys.executable).with_name("embedq-tui")

# Calls the function as readline would, for the words up to the cursor.
_BASH = """
eval "$(embedq-tui completion bash)"
COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_embedq_tui_completion embedq-tui
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_the_script_says_how_to_install_it(anywhere: Tui, shell: str) -> None:
    answer = await anywhere("completion", shell)
    assert answer.code == ExitCode.OK
    first, second = answer.out.splitlines()[:2]
    assert f"completion {shell} >" in (second if shell == "zsh" else first)
    assert (first == "#compdef embedq-tui") == (shell == "zsh")


async def test_another_shell_is_wrong_use(anywhere: Tui) -> None:
    assert (await anywhere("completion", "csh")).code == ExitCode.USAGE


@pytest.mark.skipif(not (shutil.which("bash") and PROGRAM.exists()), reason="needs bash and the program")
@pytest.mark.parametrize(
    ("words", "proposed", "not_proposed"),
    [
        ("embedq-tui m", {"metrics", "monitor", "migrate"}, {"status"}),
        ("embedq-tui migrate ''", {"up", "status", "verify", "rollback"}, set()),
        ("embedq-tui failed --l", {"--limit"}, {"--json"}),
        ("embedq-tui audit --category ''", {"bulk_operations", "worker_status"}, {"--json"}),
        ("embedq-tui list --status p", {"pending", "processing"}, {"failed"}),
    ],
)
async def test_bash_completes(words: str, proposed: set[str], not_proposed: set[str]) -> None:
    process = await asyncio.create_subprocess_exec(
        "bash",
        "--norc",
        "-c",
        _BASH.format(words=words),
        env={"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert err == b""
    found = set(out.decode().split())
    assert proposed <= found
    assert not found & not_proposed
