"""Manual pages and scripts for shells are those of the program, and can be read and used."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from share.make import HERE, files

PROGRAM = Path(sys.executable).with_name("embedq-worker")

# Calls the function as readline would, for the words up to the cursor.
_BASH = """
. {script}
COMP_WORDS=(embedq-worker --dra) COMP_CWORD=1
_embedq_worker_completion embedq-worker
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(not shutil.which("bash"), reason="what is made for bash asks bash for its version")
def test_they_are_made_anew_with_every_change() -> None:
    wanted = files()
    assert {name: (HERE / name).read_text("utf-8") for name in wanted} == wanted, "run: make share"


@pytest.mark.skipif(not shutil.which("man"), reason="no man here")
@pytest.mark.parametrize("page", sorted(HERE.glob("man/man1/*.1")), ids=lambda page: page.name)
def test_man_has_nothing_to_say_against_a_page(page: Path) -> None:
    done = subprocess.run(
        ["man", "--warnings", "--local-file", page],
        env={**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert page.stem in done.stdout


@pytest.mark.skipif(not (shutil.which("bash") and PROGRAM.exists()), reason="needs bash and the program")
async def test_bash_completes_the_worker() -> None:
    script = HERE / "bash-completion" / "completions" / "embedq-worker"
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        _BASH.format(script=script),
        env={**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"},
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate()
    assert told.decode().split() == ["--drain"]
