"""Structured logs of the worker: one line per event, as text or JSON, on standard error."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from typing import TextIO

import structlog

from embedq_worker.database.failures import one_line
from embedq_worker.settings import LogFormat, LogLevel

Log = structlog.typing.FilteringBoundLogger

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}

_TRACEBACKS = structlog.processors.ExceptionRenderer(
    # The values of local variables are articles, and may be secrets.
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def open_log(form: LogFormat, level: LogLevel, stream: TextIO | None = None) -> Log:
    """Make the log of a process.

    Args:
        form: ``text`` for people, ``json`` for collectors.
        level: Events below it are dropped.
        stream: Standard error where not given; where that was closed at the start, nobody reads it.
    """
    stream = stream or sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    renderer: structlog.typing.Processor
    if form == "json":
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    log: Log = structlog.wrap_logger(
        _Lines(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([_TRACEBACKS] if form == "json" else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    return log


class _Lines(structlog.WriteLogger):
    """A line that nobody takes, on a full disk or where the reader is gone, is lost: the work goes on."""

    def msg(self, message: str) -> None:
        with suppress(OSError):
            super().msg(message)

    debug = info = warning = error = critical = msg


def forget_unwritten() -> None:
    """Let what standard error did not take go nowhere, at the end of a process: Python would write it once
    more, and end with 120 where that fails, however the work went."""
    if sys.stderr is not None:
        try:
            sys.stderr.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


class LibraryLogs(logging.Handler):
    """Makes lines of ours of what libraries log, which would else go to standard error in their own form.

    Args:
        log: Where the lines go.
    """

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record: errors with their traceback, warnings with the text of their exception."""
        exception = record.exc_info[1] if record.exc_info else None
        told = {} if exception is None else {"error": f"{type(exception).__name__}: {one_line(exception)}"}
        trace = exception if record.levelno >= logging.ERROR else None
        self._log.log(record.levelno, record.getMessage(), library=record.name, exc_info=trace, **told)
