"""Makes the manual pages and the scripts for shells that the wheel installs: `make share`.

They are made from the commands themselves; a test sees that this was done.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from embedq_tui.cli import cli
from embedq_worker import __version__
from embedq_worker.cli import command as worker

HERE = Path(__file__).parent
PROGRAMS: Mapping[str, click.Command] = {"embedq-tui": cli, "embedq-worker": worker}
SHELLS = {
    "bash": "bash-completion/completions/{0}",
    "zsh": "zsh/site-functions/_{0}",
    "fish": "fish/vendor_completions.d/{0}.fish",
}
"""Where a shell looks for the script of a program, below share/."""

_FILES = {
    "~/.config/embedq/profiles.toml": "databases by name, and keys; $XDG_CONFIG_HOME",
    "~/.local/state/embedq/worker-PID.log": "log of a worker that a console left running; $XDG_STATE_HOME",
    ".env": "settings, where the program is started; the environment wins",
}
_EXIT = "0 done, 1 the answer is no, 2 wrong use or setting, 3 database or provider not reached."


def main() -> None:
    """Write them all."""
    for name, text in files().items():
        path = HERE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def files() -> dict[str, str]:
    """Texts by their names below share/."""
    found = {f"man/man1/{name}.1": _page(name, command) for name, command in PROGRAMS.items()}
    for name, command in PROGRAMS.items():
        variable = f"_{name.upper().replace('-', '_')}_COMPLETE"
        for shell, place in SHELLS.items():
            completion = get_completion_class(shell)
            assert completion is not None
            found[place.format(name)] = completion(command, {}, name, variable).source().strip() + "\n"
    return found


def _page(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name, **command.context_settings)
    first, _, rest = (command.help or "").partition("\n\n")
    lines = [
        f'.TH {name.upper()} 1 "" "embedq {__version__}"',
        ".SH NAME",
        _text(f"{name} - {first.splitlines()[0].partition('. ')[0].rstrip('.')}"),
        ".SH SYNOPSIS",
        f".B {_text(name)}",
        _text(" ".join(command.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
        *_paragraphs(f"{first}\n\n{rest}"),
        ".SH OPTIONS",
        *_options(command, context),
    ]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for each in _commands(command, context):
            lines += [f".SS {_text(each.command_path.removeprefix(name).strip())}", *_command(each)]
    lines += [".SH EXIT STATUS", _text(_EXIT), ".SH FILES"]
    for path, meaning in _FILES.items():
        lines += [".TP", f".I {_text(path)}", _text(meaning)]
    others = "\n".join(f".BR {_text(other)} (1)" for other in PROGRAMS if other != name)
    lines += [".SH SEE ALSO", others]
    return "\n".join(lines) + "\n"


def _commands(group: click.Group, context: click.Context) -> Iterator[click.Context]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        yield inner
        if isinstance(command, click.Group):
            yield from _commands(command, inner)


def _command(context: click.Context) -> Iterator[str]:
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f".B {_text(usage)}"
    yield ".PP"
    yield from _paragraphs(command.help or "")
    yield from _options(command, context)
    if command.epilog:
        yield ".PP"
        yield _text(command.epilog)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            yield from (".TP", f".B {_text(record[0])}", _text(record[1]))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.replace("\b", "").strip()):
        if paragraph.strip():
            yield from (".PP", _text(" ".join(paragraph.split())))


def _text(text: str) -> str:
    """Text as roff takes it literally."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    main()
