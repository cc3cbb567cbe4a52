"""Writing what is shown to a file: rows as CSV or JSON, a picture as SVG."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
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
    with _new(path) as file:
        file.write(text)


@contextmanager
def export_to(path: Path) -> Iterator[Export]:
    """Write rows to a new file as they arrive; it is removed again if that ends before its time.

    Args:
        path: As returned by `path_of`; its suffix decides the format.

    Raises:
        EmbedqError: It cannot be written.
    """
    with _new(path) as file:
        out = Export(file, as_json=path.suffix.lower() == ".json")
        yield out
        out.end()


@contextmanager
def _new(path: Path) -> Iterator[IO[str]]:
    try:
        file = path.open("x", encoding="utf-8", newline="")
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        yield file
        file.close()  # some file systems report a full disk only on close
    except BaseException as error:
        with suppress(OSError):  # closing flushes the buffer, and the disk is still full
            file.close()
        with suppress(OSError):
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            advice = "the incomplete file was removed; try another place"
            raise _unwritable(path, error, advice) from None
        raise


def _unwritable(path: Path, error: OSError, advice: str = "") -> EmbedqError:
    return EmbedqError(f"{path} cannot be written: {error.strerror}", advice)


class Export:
    """Rows on their way into a file, from `export_to`.

    Attributes:
        rows: Number of rows written so far.
    """

    def __init__(self, file: IO[str], *, as_json: bool) -> None:
        self.rows = 0
        self._file = file
        self._as_json = as_json
        self._names: list[str] = []

    def add(self, rows: Iterable[object]) -> None:
        """Write rows.

        Args:
            rows: Anything `documents.plain` turns into a mapping, all with the same fields.
        """
        for row in rows:
            values = plain(row)
            assert isinstance(values, dict)
            if self._as_json:
                self._file.write("[\n" if not self.rows else ",\n")
                json.dump(values, self._file)
            else:
                self._add_line(values)
            self.rows += 1

    def _add_line(self, values: dict[str, object]) -> None:
        writer = csv.writer(self._file)
        if not self.rows:
            self._names = list(values)
            writer.writerow(self._names)
        writer.writerow([_cell(values[name]) for name in self._names])

    def end(self) -> None:
        """Write what ends the file."""
        if self._as_json:
            self._file.write("\n]\n" if self.rows else "[]\n")


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
