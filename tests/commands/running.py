"""Commands run as an operator runs them, in this process and as processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from embedq_tui.cli import run
from embedq_worker.errors import ExitCode
from tests.commands.shapes import assert_shape, documented_shapes
from tests.support.databases import Connection


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said.

    Attributes:
        code: Its exit code.
        out: Standard output.
        err: Standard error.
    """

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> list[str]:
        """Lines of standard error."""
        return self.err.splitlines()

    def document(self, shape: str) -> Any:
        """The JSON answer, which has the shape that the guide gives it."""
        value = json.loads(self.out)
        assert_shape(value, documented_shapes()[shape])
        return value


class Tui:
    """Runs commands against one database.

    Args:
        variables: The environment of the commands, beside that of a provider that is not there.
        capture: Takes what they print.
        monkeypatch: Sets the environment.
    """

    def __init__(
        self,
        variables: Mapping[str, str],
        capture: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.variables = {
            "EMBEDDING_PROVIDER": "openai",
            "EMBEDDING_MODEL": "stub",
            "OPENAI_API_KEY": "sk-test",
            "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
            **variables,
        }
        self._capture = capture
        self._monkeypatch = monkeypatch

    async def __call__(self, *arguments: str | Path, **variables: object) -> Answer:
        """Run a command in this process.

        Args:
            arguments: Its command line.
            variables: More of its environment.
        """
        # Not in a context of its own: of two that run at once, the one that ends last would leave what the
        # other had set. All is as it was at the end of the test.
        for name, value in (self.variables | variables).items():
            self._monkeypatch.setenv(name, str(value))
        self._capture.readouterr()
        code = await asyncio.to_thread(run, [str(argument) for argument in arguments])
        out, err = self._capture.readouterr()
        for name in variables.keys() - self.variables.keys():
            self._monkeypatch.delenv(name)
        return Answer(code, out, err)

    async def start(
        self,
        *arguments: str | Path,
        program: Sequence[str] = ("-m", "embedq_tui"),
        variables: Mapping[str, object] | None = None,
    ) -> asyncio.subprocess.Process:
        """Start a command as a process of its own, with pipes.

        Args:
            arguments: Its command line.
            program: What Python runs.
            variables: More of its environment.
        """
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            *program,
            *map(str, arguments),
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
            | {name: str(value) for name, value in (self.variables | dict(variables or {})).items()},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def process(self, *arguments: str | Path, **variables: object) -> Answer:
        """Run a command as a process of its own."""
        process = await self.start(*arguments, variables=variables)
        out, err = await process.communicate()
        assert process.returncode is not None
        return Answer(process.returncode, out.decode(), err.decode())


@asynccontextmanager
async def as_role(tui: Tui, connection: Connection, rights: str) -> AsyncIterator[None]:
    """Commands log in as a role that has these rights and no others."""
    role, url = f"embedq_{uuid4().hex[:8]}", tui.variables["DATABASE_URL"]
    await connection.execute(f"CREATE ROLE {role} LOGIN")
    try:
        await connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")  # as by default from 15 on
        await connection.execute(rights.format(role=role))
        tui.variables["DATABASE_URL"] = url.replace("://postgres@", f"://{role}@")
        yield
    finally:
        tui.variables["DATABASE_URL"] = url
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def act(tui: Tui, *arguments: object, code: int = ExitCode.OK, **expected: Any) -> Any:
    """Run an action for its JSON; compare some of its values."""
    answer = await tui(*map(str, arguments), "--json")
    assert answer.code == code, answer.err
    document = answer.document("action")
    assert {key: document[key] for key in expected} == expected
    assert (document["operation_id"] is None) == (document["changed"] == 0)
    return document
