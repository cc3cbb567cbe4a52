"""What every command accepts: which settings to use, the output format, how errors are shown."""

from __future__ import annotations

import getpass
import math
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from embedq_tui.commands.output import print_error
from embedq_worker.process.imports import uninterrupted
from embedq_worker.schema.task_values import PRIORITIES
from embedq_worker.text import printable_line

if TYPE_CHECKING:
    from embedq_worker.configuration.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")
C = TypeVar("C")


@dataclass(slots=True)
class Invocation:
    """One run of the program.

    Attributes:
        env_file: Settings file given on the command line.
        debug: Show errors with a traceback.
        as_json: Print JSON.
        profile: A database from profiles.toml; empty for the one from the environment.
    """

    env_file: Path | None = None
    debug: bool = False
    as_json: bool = False
    profile: str = ""

    def settings(self, **overrides: object) -> Settings:
        """Read the settings.

        Args:
            overrides: Values by field name that take precedence over all others.

        Raises:
            SettingsError: A value is invalid.
        """
        settings = self._settings(overrides)
        if settings.unread:
            print_error(settings.unread)
        return settings

    def _settings(self, overrides: Mapping[str, object]) -> Settings:
        if self.profile:
            with uninterrupted():
                from embedq_tui.profiles import load_profiles
            return load_profiles().find(self.profile).settings(self.env_file, **overrides)
        with uninterrupted():
            from embedq_worker.configuration.loading import load_settings
        return load_settings(self.env_file, **overrides)


def common_options(function: F) -> F:
    """Add --env-file, --profile and --debug."""
    function = _remembered(
        "--profile", "profile", type=TextValue(), metavar="NAME", help="Use this database from profiles.toml."
    )(function)
    function = _remembered(
        "--env-file",
        "env_file",
        type=NamedPath(path_type=Path),
        metavar="FILE",
        help="Read settings from this file instead of .env; environment variables take precedence.",
    )(function)
    return _remembered("--debug", "debug", is_flag=True, help="Show errors with a traceback.")(function)


class Number(click.IntRange):
    """A whole number in a range, and called so in errors."""

    name = "whole number"


class TextValue(click.ParamType[str]):
    """A non-empty text: an unset shell variable must not pass for one.

    As a filter, an empty text would match everything.

    Args:
        or_none: Accept an empty text where it has a meaning of its own.
    """

    name = "text"

    def __init__(self, *, or_none: bool = False) -> None:
        self._or_none = or_none

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Parse the value."""
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail("is not UTF-8 text", param, ctx)
        return text if text or self._or_none else self.fail("is empty", param, ctx)


class FolderValue(TextValue):
    """The name of a folder, without slashes around it."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Parse the value."""
        return super().convert(str(value).strip("/"), param, ctx)


class NamedPath(click.Path):
    """A non-empty path: pathlib takes an empty one for the working directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the value."""
        if not str(value):
            self.fail("is empty", param, ctx)
        return super().convert(value, param, ctx)


class Seconds(click.FloatRange):
    """A number of seconds."""

    name = "number of seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse the value."""
        found: float = super().convert(value, param, ctx)
        if math.isnan(found):  # NaN passes every bound: it is neither less nor greater
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return found


class CursorOf(click.ParamType[C]):
    """The cursor with which the previous page pointed to the next one.

    Args:
        parse: Parses it; raises ValueError if it is none.
    """

    name = "cursor"

    def __init__(self, parse: Callable[[str], C]) -> None:
        self._parse = parse

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> C:
        """Parse the value."""
        try:
            return self._parse(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a cursor from a previous page", param, ctx)


def limit_option(
    what: str, *, default: int, most: int, least: int = 1
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Add --limit, the maximum number of rows to show.

    Args:
        what: Text for --help.
        default: Its value if it is not given.
        most: Its maximum.
        least: Its minimum.
    """
    return click.option(
        "--limit", type=Number(least, most), default=default, metavar="N", show_default=True, help=what
    )


def priority_option(default: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Add --priority, that of the tasks to be queued.

    Args:
        default: Its value if it is not given.
    """
    return click.option(
        "--priority",
        type=click.Choice(PRIORITIES),
        default=default,
        show_default=True,
        help="Priority of the tasks.",
    )


def after_option(parse: Callable[[str], Any]) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Add --after, which continues a list after the previous page.

    Args:
        parse: Parses the cursor; raises ValueError if it is none.
    """
    return click.option(
        "--after",
        type=CursorOf(parse),
        metavar="CURSOR",
        help="Continue after the previous page, from its `next`.",
    )


def operator_command(function: Callable[..., R]) -> Callable[..., R]:
    """Add --json, --env-file, --profile and --debug, which every command has.

    The function receives an `Invocation` as its first argument.
    """
    function = common_options(click.pass_obj(function))
    return _remembered("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def _remembered(flag: str, attribute: str, **options: Any) -> Callable[[F], F]:
    """An option stored in the invocation, wherever on the command line it is given."""

    def remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
        if value:
            setattr(context.find_object(Invocation), attribute, value)

    return click.option(flag, attribute, expose_value=False, callback=remember, **options)


def operator() -> str:
    """Who runs the program, for the audit log: ``user@host``."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a user without a passwd entry, as in containers
        name = str(os.getuid())
    return printable_line(f"{name}@{socket.gethostname()}")  # these may be any bytes
