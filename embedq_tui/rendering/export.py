"""What is shown, written to a file: CSV for tables, JSON for programs, SVG for eyes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO

from embedq_tui.output import plain
from embedq_worker.errors import EmbedqError, UsageError

ROWS = (".csv", ".json")
PICTURE = (".svg",)

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take for the beginning of a formula, which is somebody else's program."""


def default_name(what: str, now: datetime, suffix: str) -> str:
    """A name for a file: ``tasks-20261124-183005.csv``."""
    return f"{what}-{now.astimezone():%Y%m%d-%H%M%S}{suffix}"


def path_of(text: str, suffixes: Sequence[str] = ROWS) -> Path:
    """The file that an operator named.

    Args:
        text: As it was typed.
        suffixes: It may end in one of these.

    Raises:
        UsageError: It cannot be written to.
    """
    if not text.isprintable():
        raise UsageError("the name of the file is one line of printable characters")
    try:
        path = Path(text).expanduser()
        if path.suffix.lower() not in suffixes:
            raise UsageError(f"the name of the file ends in {' or '.join(suffixes)}")
        if not path.parent.is_dir():
            raise UsageError(f"there is no folder {path.parent}")
        if path.exists():
            raise UsageError(f"{path} exists already")
    except OSError as error:  # too long a name, no right to look
        raise UsageError(f"{text}: {error.strerror}") from None
    except RuntimeError as error:  # no such user
        raise UsageError(str(error)) from None
    return path


def save(path: Path, text: str) -> None:
    """Write a new file at once; one that cannot be written whole is removed.

    Args:
        path: Of `path_of`.
        text: All of it.

    Raises:
        EmbedqError: It cannot be written.
    """
    try:
        file = path.open("x", encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        with file:
            file.write(text)
    except OSError as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise _unwritable(path, error, NOTHING_LEFT) from None


NOTHING_LEFT = "nothing is left of it; name another"


def _unwritable(path: Path, error: OSError, advice: str = "") -> EmbedqError:
    return EmbedqError(f"{path} cannot be written: {error.strerror}", advice)


class Export:
    """Writes rows to a new file as they come. Use it as a context manager: what is cut short is removed.

    Args:
        path: Of `path_of`; its suffix says how it is written.

    Attributes:
        rows: Written so far.
    """

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._path = path
        self._file: IO[str] | None = None
        self._names: list[str] = []

    def __enter__(self) -> Export:
        """Make the file.

        Raises:
            EmbedqError: It cannot be made.
        """
        try:
            self._file = self._path.open("x", encoding="utf-8", newline="")
        except OSError as error:
            raise _unwritable(self._path, error) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the file.

        Raises:
            EmbedqError: It cannot be written.
        """
        if kind is None:
            self._write(self._end)
        else:
            self._discard()

    def add(self, rows: Iterable[object]) -> None:
        """Write rows.

        Args:
            rows: What `output.plain` makes mappings of, all with the same fields.

        Raises:
            EmbedqError: They cannot be written.
        """
        for row in rows:
            values = plain(row)
            assert isinstance(values, dict)
            self._write(partial(self._add, values))
            self.rows += 1

    def _write(self, write: Callable[[IO[str]], None]) -> None:
        assert self._file is not None
        try:
            write(self._file)
        except OSError as error:
            self._discard()
            raise _unwritable(self._path, error, NOTHING_LEFT) from None

    def _discard(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # once more for what it still holds: the disk is full now, too
                self._file.close()
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _add(self, values: dict[str, object], file: IO[str]) -> None:
        if self._path.suffix.lower() == ".json":
            file.write("[\n" if not self.rows else ",\n")
            json.dump(values, file)
            return
        writer = csv.writer(file)
        if not self.rows:
            self._names = list(values)
            writer.writerow(self._names)
        writer.writerow([_cell(values[name]) for name in self._names])

    def _end(self, file: IO[str]) -> None:
        if self._path.suffix.lower() == ".json":
            file.write("\n]\n" if self.rows else "[]\n")
        file.close()  # some file systems tell only then that there was no room


def _cell(value: object) -> object:
    match value:
        case None:
            return ""
        case str() if value.startswith(_FORMULA):
            return f"'{value}"
        case dict() | list():
            return json.dumps(value)
        case bool():
            return str(value).lower()
    return value
