"""The command `embedq-tui`: finds the command asked for, and puts what goes wrong into one or two lines."""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

import click

from embedq_tui.invocation import Invocation, common_options
from embedq_tui.output import OutputError, ReaderGone, print_error
from embedq_worker.errors import INTERRUPTED, READER_GONE, EmbedqError, ExitCode
from embedq_worker.interrupts import held
from embedq_worker.loading import loading

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PROGRAM = "embedq-tui"

COMPLETION_VARIABLE = "_EMBEDQ_TUI_COMPLETE"
"""Set by the script of `completion` when a shell asks."""

BUG = 70
"""Exit code when this program is wrong; none of the answers that scripts depend on."""

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Real articles, a server of its own, a local model: see it work."),
    "status": ("status", "Workers and queue at a glance."),
    "stats": ("stats", "The queue in numbers, on one screen."),
    "metrics": ("metrics", "Throughput, times and depth by hour or day; plots; Prometheus."),
    "health": ("health", "Whether the queue is served as it should be; for cron and monitoring."),
    "failed": ("failed", "Failed tasks, grouped by error."),
    "stuck": ("stuck", "Tasks whose claim is too old or whose worker is gone."),
    "list": ("list_tasks", "Tasks that fulfil conditions, page by page."),
    "recent": ("recent", "Tasks to which something happened last."),
    "show": ("show", "All that is known of a task, with its history."),
    "article": ("article", "An article with its tasks and embeddings."),
    "retry": ("retry", "Give failed tasks a fresh start."),
    "cancel": ("cancel", "End tasks before they are done."),
    "clear": ("clear", "Cancel all pending tasks."),
    "priority": ("priority", "Give waiting tasks another priority."),
    "undo": ("undo", "Take back a cancellation or a change of priority."),
    "reset-stuck": ("reset_stuck", "Put what has been in hand for too long back into the queue."),
    "start": ("start", "Let the workers claim again after a stop."),
    "stop": ("stop", "End the workers, on any host."),
    "pause": ("pause", "Keep the workers up but idle."),
    "resume": ("resume", "Let paused workers claim again."),
    "concurrency": ("concurrency", "Let running workers work on more or fewer batches at once."),
    "probe": ("probe", "Have a provider that is held tried at once."),
    "cleanup": ("cleanup", "Delete what is older than the retention."),
    "monitor": ("monitor", "The queue on one screen, live."),
    "audit": ("audit", "What happened, and what happens."),
    "verify": ("verify", "Prove counts and embeddings right, repair the counts."),
    "search": ("search", "Search the articles by meaning."),
    "import": ("import_articles", "Read Markdown files into articles, and queue them."),
    "queue": ("queue", "Queue articles that are named."),
    "backfill": ("backfill", "Queue the articles that need embedding."),
    "triggers": ("triggers", "Queue what any program saves, by a trigger on the articles."),
    "config": ("config", "Every setting with value, source and range."),
    "check": ("check", "Try database and provider as a worker would use them."),
    "completion": ("completion", "The script by which a shell completes our commands and options."),
    "migrate": ("migrate", "Bring the schema up to date, look at it, take it back."),
}
"""Module under `embedq_tui.commands` and summary of each command. A module is imported when its command runs,
so that listing them all costs nothing."""


class LazyGroup(click.Group):
    """The group of all commands; click's recipe for loading them late, with the summaries kept apart."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            # click proposes what was meant from those it holds.
            self.commands.update({name: click.Command(name) for name in COMMANDS})
            return None
        with held(), loading():
            command = import_module(f"embedq_tui.commands.{COMMANDS[cmd_name][0]}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Propose commands, then options."""
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
    epilog="Exit codes: 0 done, 1 the answer is no, 2 wrong use or setting, 3 database or provider not "
    "reached. Example: embedq-tui status --json",
)
@click.option("--migrate", is_flag=True, help="Bring the schema up to date, and exit.")
@click.option("--read-only", is_flag=True, help="Open the console without any action that changes something.")
@common_options
@click.option("--version", is_flag=True, help="Versions of program, libraries and PostgreSQL, and exit.")
@click.pass_context
def cli(context: click.Context, migrate: bool, read_only: bool, version: bool) -> None:
    """Operate a PostgreSQL queue of embedding tasks. Without a command: open the console."""
    if version:
        from embedq_tui.versions import versions

        click.echo("\n".join(versions(context.ensure_object(Invocation))))
        context.exit()
    if migrate:
        if context.invoked_subcommand is not None:
            raise click.UsageError("--migrate stands alone")
        command = cli.get_command(context, "migrate")
        assert command is not None
        context.invoke(command)
    elif context.invoked_subcommand is None:
        with loading():
            from embedq_tui.opening import open_console

        invocation = context.ensure_object(Invocation)
        code = open_console(profile=invocation.profile, env_file=invocation.env_file, read_only=read_only)
        context.exit(code)


def main() -> None:
    """Entry point."""
    if COMPLETION_VARIABLE in os.environ:
        cli.main(prog_name=PROGRAM, complete_var=COMPLETION_VARIABLE)  # answers, and exits
    code = run(sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is done; there is nothing left to interrupt
    _end(code)


def _end(code: int) -> NoReturn:
    """End the process as it is, as mypy does.

    To free one by one what ends with the process anyway is a twentieth of a short command. A profiler,
    which tells at the end of a process what it found, wants `run`.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # there is none, or nobody takes it any more
            stream.flush()
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line in this process.

    Returns:
        Its exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal of one byte per character shows the rest as "?"
    invocation = Invocation()
    try:
        # What cli.main does, but for its answers to Ctrl-C and to a closed pipe: they are below.
        with cli.make_context(PROGRAM, list(arguments), obj=invocation) as context:
            outcome = cli.invoke(context)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except KeyboardInterrupt:
        return _interrupted()
    except Exception as error:
        # The edge of the program: nobody sees a traceback who did not ask for it.
        if invocation.debug:
            raise
        return _told(error)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # how rich answers a closed pipe
            return _reader_gone()
        return end.code if isinstance(end.code, int) else int(ExitCode.OK)
    return outcome if isinstance(outcome, int) else int(ExitCode.OK)


def _told(error: Exception) -> int:
    """Tell an error as the operator needs it.

    Returns:
        The exit code that follows from it.
    """
    match error:
        case ReaderGone() | BrokenPipeError():
            return _reader_gone()
        case OutputError():
            _reader_gone()
            print_error(error.message)
            return int(ExitCode.NO)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EIO):  # of rich, or of the last flush
            return _told(OutputError(error.strerror))
        case EmbedqError():
            print_error(error.message, error.advice)
            return int(error.exit_code)
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.ctx.get_help() if error.ctx else error.format_message(), err=True)
            return int(ExitCode.USAGE)
        case click.ClickException():
            ctx = error.ctx if isinstance(error, click.UsageError) else None
            print_error(error.format_message(), f"try: {ctx.command_path} --help" if ctx else "")
            return int(ExitCode.USAGE)
        case click.Abort():
            return _interrupted()
        case _:
            print_error(f"internal error: {type(error).__name__}: {error}", "run it again with --debug")
            return BUG


def _interrupted() -> int:
    """End the line on which a terminal shows ^C."""
    if sys.stderr is not None and sys.stderr.isatty():
        click.echo(err=True)
    return INTERRUPTED


def _reader_gone() -> int:
    """Let what is still buffered go nowhere: Python flushes once more at its end, and would complain."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return READER_GONE
