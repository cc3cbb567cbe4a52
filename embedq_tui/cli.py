"""The command `embedq-tui`: dispatches to the command asked for and reports any error in one or two lines."""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

import click

from embedq_tui.commands.invocation import Invocation, common_options
from embedq_tui.commands.output import OutputError, ReaderGone, print_error
from embedq_worker.errors import INTERRUPTED, READER_GONE, EmbedqError, ExitCode
from embedq_worker.process.imports import loading, uninterrupted
from embedq_worker.process.library_warnings import tell_warnings
from embedq_worker.process.scarcity import scarce

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PROGRAM = "embedq-tui"

COMPLETION_VARIABLE = "_EMBEDQ_TUI_COMPLETE"
"""Set by the script that `completion` prints, when a shell asks for completions."""

BUG = 70
"""Exit code for a bug in this program; distinct from every code that scripts rely on."""

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "See it work: real articles, a private PostgreSQL, a local model."),
    "status": ("status", "Workers and queue at a glance."),
    "stats": ("stats", "The queue in numbers, on one screen."),
    "metrics": ("metrics", "Throughput, latency and queue depth over time; plots; Prometheus."),
    "health": ("health", "Check whether the queue is healthy; for cron and monitoring."),
    "failed": ("failed", "Failed tasks, grouped by error."),
    "stuck": ("stuck", "Claimed tasks that nobody will finish: claim too old, or worker gone."),
    "list": ("list_tasks", "Tasks that match the given filters, page by page."),
    "recent": ("recent", "Tasks with the most recent activity."),
    "show": ("show", "Everything known about a task, with its history."),
    "articles": ("articles", "Articles that match the given filters, with the state of their embeddings."),
    "article": ("article", "An article, its tasks and its embeddings."),
    "retry": ("retry", "Retry failed tasks from scratch."),
    "cancel": ("cancel", "Cancel tasks before they complete."),
    "clear": ("clear", "Cancel all pending tasks."),
    "priority": ("priority", "Change the priority of pending tasks."),
    "undo": ("undo", "Undo a cancellation or a change of priority."),
    "reset-stuck": ("reset_stuck", "Return stuck tasks to the queue."),
    "start": ("start", "Let workers claim tasks again after `stop`."),
    "stop": ("stop", "Shut down the workers, on any host."),
    "pause": ("pause", "Keep workers running but idle."),
    "resume": ("resume", "Let paused workers claim tasks again."),
    "concurrency": ("concurrency", "Change how many batches running workers process at once."),
    "probe": ("probe", "Probe an unavailable provider right now."),
    "cleanup": ("cleanup", "Delete data older than the retention period."),
    "monitor": ("monitor", "The queue on one screen, live."),
    "audit": ("audit", "The audit log, past and live."),
    "verify": ("verify", "Check counts and embeddings against the data; repair the counts."),
    "search": ("search", "Search the articles by meaning."),
    "import": ("import_articles", "Import Markdown files as articles and queue them."),
    "queue": ("queue", "Queue specific articles."),
    "backfill": ("backfill", "Queue the articles that need embedding."),
    "triggers": ("triggers", "Queue articles that any program saves, with a database trigger."),
    "config": ("config", "Every setting with its value, source and range."),
    "check": ("check", "Test the database and the provider the way a worker uses them."),
    "completion": ("completion", "Print a shell completion script."),
    "migrate": ("migrate", "Apply, inspect, verify or roll back the schema."),
}
"""Module under `embedq_tui.commands` and summary of each command. A module is imported only when its command
runs, so listing them all costs nothing."""


class LazyGroup(click.Group):
    """The group of all commands, loaded lazily (click's recipe); the summaries are kept separately."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Command names in help order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            # click suggests near misses from the commands it knows.
            self.commands.update({name: click.Command(name) for name in COMMANDS})
            return None
        with uninterrupted(), loading():
            command = import_module(f"embedq_tui.commands.{COMMANDS[cmd_name][0]}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete commands, then options."""
        from click.shell_completion import CompletionItem

        names = [
            CompletionItem(name, help=summary)
            for name, (_, summary) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 the answer is no, 2 wrong usage or invalid setting, 3 database or provider "
    "unreachable. Example: embedq-tui status --json",
)
@click.option("--migrate", is_flag=True, help="Bring the schema up to date and exit.")
@click.option(
    "--read-only", is_flag=True, help="Open the console with every action that changes data disabled."
)
@common_options
@click.option(
    "--version", is_flag=True, help="Show the versions of the program, libraries and PostgreSQL, and exit."
)
@click.pass_context
def cli(context: click.Context, migrate: bool, read_only: bool, version: bool) -> None:
    """Operate a PostgreSQL queue of embedding tasks. Without a command, opens the console."""
    if version:
        from embedq_tui.versions import versions

        click.echo("\n".join(versions(context.ensure_object(Invocation).settings)))
        context.exit()
    if migrate:
        if context.invoked_subcommand is not None:
            raise click.UsageError("--migrate cannot be combined with a command")
        command = cli.get_command(context, "migrate")
        assert command is not None
        context.invoke(command)
    elif context.invoked_subcommand is None:
        with loading():
            from embedq_tui.commands.opening import open_console

        invocation = context.ensure_object(Invocation)
        code = open_console(profile=invocation.profile, env_file=invocation.env_file, read_only=read_only)
        context.exit(code)


def main() -> None:
    """Entry point."""
    if COMPLETION_VARIABLE in os.environ:
        cli.main(prog_name=PROGRAM, complete_var=COMPLETION_VARIABLE)  # answers, and exits
    tell_warnings(print_error)
    code = run(sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # finished; there is nothing left to interrupt
    _end(code)


def _end(code: int) -> NoReturn:
    """Exit without the interpreter's teardown, as mypy does.

    Freeing every object one by one just before the process ends takes a twentieth of a short command's time.
    A profiler, which reports when the process ends, should call `run` instead.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # the stream is missing, or its reader is gone
            stream.flush()
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line in this process.

    Returns:
        Its exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a single-byte terminal shows what it cannot encode as "?"
    invocation = Invocation()
    try:
        # Same as cli.main, except for Ctrl-C and closed pipes, which are handled below.
        with cli.make_context(PROGRAM, list(arguments), obj=invocation) as context:
            outcome = cli.invoke(context)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except KeyboardInterrupt:
        return _interrupted()
    except Exception as error:
        # The outermost edge of the program: a traceback only for those who asked for one.
        if invocation.debug:
            raise
        return _report(error)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # how rich reacts to a closed pipe
            return _reader_gone()
        return end.code if isinstance(end.code, int) else int(ExitCode.OK)
    return outcome if isinstance(outcome, int) else int(ExitCode.OK)


def _report(error: Exception) -> int:
    """Report an error in the operator's terms.

    Returns:
        The matching exit code.
    """
    match error:
        case ReaderGone() | BrokenPipeError():
            return _reader_gone()
        case OutputError():
            _reader_gone()
            print_error(error.message)
            return int(ExitCode.NO)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EIO):  # from rich, or from the final flush
            return _report(OutputError(error.strerror))
        case EmbedqError():
            print_error(error.message, error.advice)
            return int(error.exit_code)
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.ctx.get_help() if error.ctx else error.format_message(), err=True)
            return int(ExitCode.USAGE)
        case click.ClickException():
            ctx = error.ctx if isinstance(error, click.UsageError) else None
            print_error(error.format_message(), f"see: {ctx.command_path} --help" if ctx else "")
            return int(ExitCode.USAGE)
        case click.Abort():
            return _interrupted()
        case _ if limit := scarce(error):
            return _report(limit)
        case _:
            # A module that is imported on demand is the new one after an upgrade of a running program.
            first = "if it was upgraded meanwhile, start it again; " if isinstance(error, ImportError) else ""
            advice = f"{first}run again with --debug for the traceback"
            print_error(f"internal error: {type(error).__name__}: {error}", advice)
            return BUG


def _interrupted() -> int:
    """Finish the line on which the terminal echoed ^C."""
    if sys.stderr is not None and sys.stderr.isatty():
        click.echo(err=True)
    return INTERRUPTED


def _reader_gone() -> int:
    """Discard what is still buffered: Python flushes once more as it exits, and would complain."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return READER_GONE
