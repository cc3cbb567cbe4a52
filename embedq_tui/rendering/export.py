"""Writing what is shown to a file: rows as CSV or JSON, a picture as SVG."""

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

from embedq_tui.rendering.documents import plain
from embedq_worker.errors import EmbedqError, UsageError

ROWS = (".csv", ".json")
PICTURE = (".svg",)

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters that a spreadsheet takes for a formula: text from the database must not become code."""


def default_name(what: str, now: datetime, suffix: str) -> str:
    """A default file name: ``tasks-20261124-183005.csv``."""
    return f"{what}-{now.astimezone():%Y%m%d-%H%M%S}{suffix}"


def path_of(text: str, suffixes: Sequence[str] = ROWS) -> Path:
    """Check the file name an operator typed.

    Args:
        text: As it was typed.
        suffixes: The accepted endings.

    Raises:
        UsageError: It cannot be written to.
    """
    if not text.isprintable():
        raise UsageError("a file name must be one line of printable characters")
    try:
        path = Path(text).expanduser()
        if path.suffix.lower() not in suffixes:
            raise UsageError(f"the file name must end in {' or '.join(suffixes)}")
        if not path.parent.is_dir():
            raise UsageError(f"there is no folder {path.parent}")
        if path.exists():
            raise UsageError(f"{path} already exists; choose another name")
    except OSError as error:  # the name is too long, or the folder may not be read
        raise UsageError(f"{text}: {error.strerror}") from None
    except RuntimeError as error:  # ~ of an unknown user
        raise UsageError(str(error)) from None
    return path


def save(path: Path, text: str) -> None:
    """Write a new file; it is removed again if it cannot be written completely.

    Args:
        path: As returned by `path_of`.
        text: The whole content.

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


NOTHING_LEFT = "the incomplete file was removed; try another place"


def _unwritable(path: Path, error: OSError, advice: str = "") -> EmbedqError:
    return EmbedqError(f"{path} cannot be written: {error.strerror}", advice)


class Export:
    """Writes rows to a new file as they arrive. A context manager: an incomplete file is removed.

    Args:
        path: As returned by `path_of`; its suffix decides the format.

    Attributes:
        rows: Number of rows written so far.
    """

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._path = path
        self._file: IO[str] | None = None
        self._names: list[str] = []

    def __enter__(self) -> Export:
        """Create the file.

        Raises:
            EmbedqError: It cannot be created.
        """
        try:
            self._file = self._path.open("x", encoding="utf-8", newline="")
        except OSError as error:
            raise _unwritable(self._path, error) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish and close the file.

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
            rows: Anything `documents.plain` turns into a mapping, all with the same fields.

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
            with suppress(OSError):  # closing flushes the buffer, and the disk is still full
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
        file.close()  # some file systems report a full disk only on close


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
