"""Structured logs of the worker: one line per event, as text or JSON, on standard error."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog

from embedq_worker.settings import LogFormat, LogLevel

Log = structlog.typing.FilteringBoundLogger

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


def open_log(form: LogFormat, level: LogLevel, stream: TextIO | None = None) -> Log:
    """Make the log of a process.

    Args:
        form: ``text`` for people, ``json`` for collectors.
        level: Events below it are dropped.
        stream: Standard error where not given.
    """
    stream = stream or sys.stderr
    renderer: structlog.typing.Processor
    if form == "json":
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    log: Log = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.dict_tracebacks] if form == "json" else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    return log
