"""Expected failures as the operator sees them: one line says what is wrong, one says what to do."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command; scripts depend on them."""

    OK = 0
    NO = 1
    USAGE = 2
    UNREACHABLE = 3


INTERRUPTED = 130
"""Exit code after Ctrl-C, as in a shell: 128 + SIGINT."""

READER_GONE = 141
"""Exit code when the reader of the output closed the pipe, as in a shell: 128 + SIGPIPE."""

MIGRATE = "run: embedq-tui --migrate"
"""Advice about a schema that a migration mends; the console has a key for it."""


class EmbedqError(Exception):
    """An expected failure: shown as one or two lines, never as a traceback.

    Args:
        message: What is wrong, in one line without secrets.
        advice: What to do about it, in one line; empty if there is nothing to add.
    """

    exit_code: ExitCode = ExitCode.NO

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    @property
    def line(self) -> str:
        """Message and advice on one line."""
        return "; ".join(filter(None, (self.message, self.advice)))

    def __str__(self) -> str:
        return f"{self.message}\n{self.advice}" if self.advice else self.message


class UsageError(EmbedqError):
    """The command line or a setting is wrong."""

    exit_code = ExitCode.USAGE


class SettingsError(UsageError):
    """A setting has an invalid value; the message names the variable."""


class Unreachable(EmbedqError):
    """The database or the provider cannot be reached."""

    exit_code = ExitCode.UNREACHABLE


class HeldUp(Unreachable):
    """The database answers, but a statement waited too long for another session's lock."""


class SchemaError(EmbedqError):
    """The schema of the database is not the one this version needs."""
