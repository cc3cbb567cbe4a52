"""Structured logs of the worker: one line per event, as text or JSON, on standard error."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

import structlog

from embedq_worker.configuration.settings import LogFormat, LogLevel
from embedq_worker.database.failures import one_line

Log = structlog.typing.FilteringBoundLogger

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""Of sd-daemon(3): a line that begins with one in angle brackets has it in systemd's journal."""

_TRACEBACKS = structlog.processors.ExceptionRenderer(
    # Local variables hold texts of articles, and perhaps secrets.
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def open_log(form: LogFormat, level: LogLevel, stream: TextIO | None = None) -> Log:
    """Open the log of a process.

    Args:
        form: ``text`` for people, ``json`` for log collectors.
        level: Events below it are dropped.
        stream: Standard error by default; if that was closed at the start, the log is discarded.
    """
    stream = stream or sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    renderer: structlog.typing.Processor
    if form == "json":
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty() and not os.environ.get("NO_COLOR"),
            exception_formatter=structlog.dev.plain_traceback,
        )
    log: Log = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([_TRACEBACKS] if form == "json" else []),
            _with_priority(renderer) if _is_journal(stream) else renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    return log


def _is_journal(stream: TextIO) -> bool:
    """Whether a stream is the one that systemd has connected to its journal, by `systemd.exec(5)`."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # it has none, or is closed
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _with_priority(renderer: structlog.typing.Processor) -> structlog.typing.Processor:
    """Begin each line with its priority, so that `journalctl -p` finds it; the journal takes it off."""

    def render(logger: object, level: str, event: structlog.typing.EventDict) -> str:
        lines = str(renderer(logger, level, event)).split("\n")
        return "\n".join(f"<{_PRIORITIES.get(level, 6)}>{line}" for line in lines)

    return render


class LibraryLogs(logging.Handler):
    """Writes the log records of libraries in our format; they would go to standard error in their own.

    Args:
        log: Where the lines go.
    """

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record: an error with its traceback, a warning with the text of its exception."""
        exception = record.exc_info[1] if record.exc_info else None
        told = {} if exception is None else {"error": f"{type(exception).__name__}: {one_line(exception)}"}
        trace = exception if record.levelno >= logging.ERROR else None
        self._log.log(record.levelno, record.getMessage(), library=record.name, exc_info=trace, **told)
