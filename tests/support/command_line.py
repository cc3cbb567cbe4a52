"""Parse command lines from documents and units with our programs, without executing them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from embedq_tui.cli import cli
from embedq_tui.commands.invocation import Invocation
from embedq_worker.cli import command as worker

NOBODY = "00000000-0000-4000-8000-000000000000"

_PROGRAMS: dict[str, click.Command] = {"embedq-tui": cli, "embedq-worker": worker}
_LINE = re.compile(r"^\s*(?:[A-Z_]+=\S+ )*((?:\S*/)?embedq-(?:tui|worker)(?= |$)[^`\n|;&><)]*)")
_COMMENT = re.compile(r"\s{2,}.*|\s#.*")


def understand(words: Sequence[str]) -> None:
    """Have a program parse its arguments.

    Args:
        words: The program, by name or path, and its arguments; words that end in ``_ID`` stand for an id.

    Raises:
        click.UsageError: It rejects them.
    """
    program, *rest = (NOBODY if word.endswith("_ID") else word for word in words)
    command = _PROGRAMS[Path(program).name]
    # A command keeps the help option it first had, which is that of the program it stands in.
    context = click.Context(command, info_name=program, obj=Invocation(), **command.context_settings)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest.pop(0))
        if found is None:
            raise click.UsageError(f"no such command: {' '.join(words)}")
        command = found
    command.make_context(program, rest, parent=context)


def lines_of(page: str) -> Iterator[list[str]]:
    """Find command lines of our programs in a Markdown page: in code spans and code blocks.

    Args:
        page: Its text; prose, and code other than sh, is ignored.
    """
    code = re.findall(r"(?<!`)`(embedq-[^`\n]+)`(?!`)", page)
    code += re.findall(r"^ {4,}((?:[A-Z_]+=\S+ )*embedq-.*)$", page, re.MULTILINE)
    for block in re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        code += re.sub(r"\\\n\s*", " ", block).splitlines()
    for line in code:
        if "[" in line or "COMMAND" in line:  # how it is used in general
            continue
        for found in _LINE.findall(line):
            yield shlex.split(_COMMENT.sub("", found))
