"""The command `embedq-worker`."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import click

from embedq_worker import __version__
from embedq_worker.configuration.loading import load_settings
from embedq_worker.configuration.settings import Settings
from embedq_worker.errors import INTERRUPTED, READER_GONE, EmbedqError, ExitCode, UsageError
from embedq_worker.process.imports import loading, uninterrupted
from embedq_worker.process.library_warnings import tell_warnings
from embedq_worker.process.output import patient_output
from embedq_worker.process.running import run
from embedq_worker.process.scarcity import scarce
from embedq_worker.schema.task_values import PRIORITIES
from embedq_worker.service.lifeline import take_line
from embedq_worker.service.logs import LibraryLogs, open_log
from embedq_worker.service.service_manager import ServiceManager
from embedq_worker.text import printable_line

PROGRAM = "embedq-worker"

COMPLETION_VARIABLE = "_EMBEDQ_WORKER_COMPLETE"
"""Set by the shell's completion script when it asks for candidates."""


class Program(click.Command):
    """Reports a usage error in two lines and unwritable output in one, as `embedq-tui` does."""

    def main(self, args: Sequence[str] | None = None, *more: Any, **options: Any) -> NoReturn:
        """Run the command, and end the process."""
        if COMPLETION_VARIABLE in os.environ:
            super().main(args, *more, **options)  # prints the candidates, and exits
        sys.exit(self._run(sys.argv[1:] if args is None else list(args)))

    def _run(self, arguments: list[str]) -> int:
        try:
            with self.make_context(PROGRAM, arguments) as context:
                self.invoke(context)
        except click.exceptions.Exit as end:
            return end.exit_code
        except click.ClickException as error:
            _report_error(error.format_message(), f"try: {PROGRAM} --help")
            return error.exit_code
        except OSError as error:  # only --help and --version write to standard output
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would flush it again
            if isinstance(error, BrokenPipeError):
                return READER_GONE
            _report_error(f"the output cannot be written: {error.strerror}")
            return ExitCode.NO
        return ExitCode.OK


def _report_error(message: str, advice: str = "") -> None:
    """Write to standard error what is wrong and what to do about it."""
    with suppress(OSError):  # the exit code still reports the failure
        click.echo(f"{PROGRAM}: {printable_line(message)}", err=True)
        if advice:
            click.echo(f"  {printable_line(advice)}", err=True)


def main() -> None:
    """Entry point."""
    if sys.stderr is not None:  # it was not closed at the start
        sys.stderr = patient_output(2, sys.stderr.encoding)
    command()


@click.command(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: embedq-worker --concurrency 4 --batch-size 50   (docs/worker.md has the rest)",
)
@click.option("--drain", is_flag=True, help="Exit when the queue is empty.")
@click.option(
    "--concurrency", type=int, metavar="N", help="Concurrent requests.  [EMBEDDING_CONCURRENT_WORKERS]"
)
@click.option("--batch-size", type=int, metavar="N", help="Tasks per claim.  [EMBEDDING_BATCH_SIZE]")
@click.option(
    "--priority",
    "priorities",
    type=click.Choice(PRIORITIES),
    multiple=True,
    help="Process only tasks of this priority; may be repeated.",
)
@click.option(
    "--folder",
    "folders",
    metavar="FOLDER",
    multiple=True,
    help="Process only articles in this folder and its subfolders; may be repeated.",
)
@click.option(
    "--metrics-port",
    type=int,
    metavar="N",
    help="Serve /metrics, /healthz and /readyz on this port.  [EMBEDDING_METRICS_PORT]",
)
@click.option(
    "--metrics-host",
    metavar="HOST",
    help="Address for the metrics port instead of 127.0.0.1.  [EMBEDDING_METRICS_HOST]",
)
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), help="Format of the log lines.  [LOG_FORMAT]"
)
@click.option("--log-level", type=click.Choice(["debug", "info", "warn", "error"]), help="[LOG_LEVEL]")
@click.option(
    "--env-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Read settings from this file instead of .env; the environment takes precedence.",
)
@click.option(
    "--lifeline",
    type=click.IntRange(min=0),
    metavar="FD",
    help="For programs that start a worker: stop, as on SIGTERM, when this inherited socket is closed.",
)
@click.option("--debug", is_flag=True, help="Show a traceback if the worker fails.")
@click.version_option(__version__, prog_name=PROGRAM)
def command(
    drain: bool,
    concurrency: int | None,
    batch_size: int | None,
    priorities: tuple[str, ...],
    folders: tuple[str, ...],
    metrics_port: int | None,
    metrics_host: str | None,
    log_format: str | None,
    log_level: str | None,
    env_file: Path | None,
    lifeline: int | None,
    debug: bool,
) -> None:
    """Compute the embeddings of queued articles.

    On SIGTERM, SIGINT or SIGHUP the worker finishes the work in flight (for at most
    EMBEDDING_SHUTDOWN_GRACE), releases its other tasks and exits with 0. On a second signal it stops at once.

    Exit codes: 0 success, 1 failure, 2 usage error or invalid setting, 3 database or provider unreachable.
    """
    try:
        line = None if lifeline is None else take_line(lifeline)
        settings = load_settings(
            env_file,
            concurrency=concurrency,
            batch_size=batch_size,
            metrics_port=metrics_port,
            metrics_host=metrics_host,
            log_format=log_format,
            log_level=log_level,
        )
        _work(settings, line, drain=drain, priorities=priorities or None, folders=_trimmed(folders))
    except EmbedqError as error:
        if debug:
            raise
        _report_error(error.message, error.advice)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # before the worker handles signals; click would report a failure
        sys.exit(INTERRUPTED)


def _work(
    settings: Settings,
    line: socket.socket | None,
    *,
    drain: bool,
    priorities: tuple[str, ...] | None,
    folders: tuple[str, ...] | None,
) -> None:
    log = open_log(settings.log_format, settings.log_level)
    tell_warnings(log.warning)
    if switch := settings.switched_off:
        log.info(f"nothing to do: {switch} is false")
        if manager := ServiceManager.named_in(os.environ):
            manager.tell("READY=1", f"STATUS={switch} is false")  # exiting without READY=1 is a failure
        return
    for warning in settings.warnings():
        log.warning(warning)
    try:
        with uninterrupted(), loading():
            from embedq_worker.service.runtime import run_worker, spare_collector

        spare_collector()
        logging.getLogger().addHandler(LibraryLogs(log))
        logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)  # warns of each attempt to connect
        run(run_worker(settings, log, drain=drain, priorities=priorities, folders=folders, lifeline=line))
    except EmbedqError:
        raise
    except Exception as error:
        if limit := scarce(error):
            raise limit from error
        log.error("the worker crashed", exc_info=error)
        raise EmbedqError(
            "the worker crashed", "the log has the traceback; other workers take over its tasks"
        ) from error


def _trimmed(folders: tuple[str, ...]) -> tuple[str, ...] | None:
    """Folders without the slashes around them, as articles have them.

    Raises:
        UsageError: One is empty, perhaps from an unset shell variable, or not UTF-8.
    """
    try:
        "".join(folders).encode()
    except UnicodeEncodeError:
        raise UsageError("--folder is not UTF-8 text", "folders in the database are") from None
    trimmed = tuple(folder.strip("/") for folder in folders)
    if "" in trimmed:
        raise UsageError("--folder is empty", "omit it to process the articles of all folders")
    return trimmed or None
