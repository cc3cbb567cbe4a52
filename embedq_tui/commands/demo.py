"""`embedq-tui demo`: everything at work on real articles, with nothing installed beforehand."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from embedq_tui.commands.search import find, hit_lines
from embedq_tui.commands.status import look, status_lines
from embedq_tui.invocation import Invocation, NamedPath, operator, operator_command
from embedq_tui.opening import open_console, require_terminal
from embedq_tui.output import count, print_json, say, say_wrapped
from embedq_tui.supervisor.types import WorkerOptions
from embedq_worker.configuration import NO_FILE, environment_of
from embedq_worker.content.articles import ImportCounts, ImportOptions, store_articles
from embedq_worker.content.demo_traffic import keep_busy
from embedq_worker.content.reference_corpus import FOLDER, python_topics
from embedq_worker.content.search import SearchHit
from embedq_worker.database.connections import DirectConnection, connected
from embedq_worker.embedded import START_OVER, default_folder, embedded_server
from embedq_worker.errors import EmbedqError, ExitCode, SchemaError
from embedq_worker.insights.coverage import Coverage, coverage
from embedq_worker.insights.overview import Overview
from embedq_worker.schema import migrations
from embedq_worker.settings import DEFAULT_MODELS, Settings

QUESTION = "how do I catch an exception"
HITS = 3


@dataclass(frozen=True, slots=True)
class Shown:
    """What the demo came to.

    Attributes:
        imported: What became of the reference articles.
        coverage: Of the reference articles.
        status: Afterwards.
        hits: Of the question.
    """

    imported: ImportCounts
    coverage: Coverage
    status: Overview
    hits: list[SearchHit]


@click.command("demo", epilog="Example: embedq-tui demo --headless --path /tmp/demo")
@click.option("--headless", is_flag=True, help="No screen: drain, print status, search.")
@click.option("--busy", is_flag=True, help="Articles are edited all the time, and some tasks fail.")
@click.option("--path", type=NamedPath(path_type=Path), metavar="FOLDER", help="Keep the database there.")
@click.option("--fresh", is_flag=True, help="Start over: delete what earlier demos left in the folder.")
@click.option("--yes", is_flag=True, help="Use the server of DATABASE_URL although it holds other articles.")
@operator_command
def command(
    invocation: Invocation, headless: bool, busy: bool, path: Path | None, fresh: bool, yes: bool
) -> ExitCode:
    """Embed real articles with a local model, and search them.

    Starts a PostgreSQL of its own in a folder that is kept for the next time, imports the language reference
    that Python carries, and opens the console on it with a worker that embeds it; --headless and --json do
    without the console, and ask a question instead. DATABASE_URL or DB_HOST name another server to be used.
    """
    quiet = invocation.as_json
    if not headless and not quiet:
        require_terminal()
    elif busy:
        raise click.UsageError("--busy is for the console")
    with _settings(invocation, path, fresh) as settings:
        if not headless and not quiet:
            return _open(settings, busy=busy, other_articles_allowed=yes)
        shown = asyncio.run(_show(settings, quiet=quiet, other_articles_allowed=yes))
    if quiet:
        print_json(
            {
                "database": settings.place,
                "articles": shown.coverage.articles,
                "embedded": shown.coverage.embedded,
                "failed": shown.status.queue.counts.failed,
                "question": QUESTION,
                "hits": shown.hits,
            }
        )
    complete = shown.coverage.embedded == shown.coverage.articles
    # Failed tasks may be those of an earlier --busy.
    return ExitCode.OK if complete and shown.hits else ExitCode.NO


@contextmanager
def _settings(invocation: Invocation, path: Path | None, fresh: bool) -> Iterator[Settings]:
    """Settings of the demo: the local model, on a server of its own or on the one that was named."""
    model, dimensions = DEFAULT_MODELS["local"]
    local = {"provider": "local", "model_name": model, "dimensions_wanted": dimensions}
    named = invocation.settings()
    if named.database_url or named.db_host:
        if path or fresh:
            raise click.UsageError("--path and --fresh are for the demo's own server; DATABASE_URL is set")
        yield invocation.settings(**local)
        return
    with embedded_server(path or default_folder(), fresh=fresh) as server:
        if not invocation.as_json:
            say(f"PostgreSQL in {server.folder}{' (new)' if server.is_new else ''}")
        try:
            yield invocation.settings(database_url=server.url, **local)
        except SchemaError as error:
            raise SchemaError(f"{server.folder}: {error.message}", START_OVER) from error


def _open(settings: Settings, *, busy: bool, other_articles_allowed: bool) -> ExitCode:
    """The console on top, with a worker of its own."""
    asyncio.run(_prepare(settings, say, other_articles_allowed=other_articles_allowed))
    say("The console opens; q ends it")
    companion = partial(keep_busy, settings, operator()) if busy else None
    worker = WorkerOptions(concurrency=2, batch_size=4)
    return ExitCode(open_console(settings=settings, worker=worker, companion=companion))


async def _prepare(
    settings: Settings, tell: Callable[[str], None], *, other_articles_allowed: bool
) -> ImportCounts:
    """Schema and articles."""
    applied = await migrations.up(settings)
    tell(f"Schema: {count(len(applied), 'migration')} applied" if applied else "Schema: up to date")
    async with connected(settings) as connection:
        if not other_articles_allowed:
            await _refuse_other_articles(connection, settings)
        imported = ImportCounts()
        options = ImportOptions(operator(), settings.max_retries)
        async for batch in store_articles(connection, python_topics(), options):
            imported.add(batch)
    tell(
        f"Articles: {imported.created} created, {imported.updated} updated, {imported.unchanged} unchanged; "
        f"{imported.queued} queued"
    )
    return imported


async def _show(settings: Settings, *, quiet: bool, other_articles_allowed: bool) -> Shown:
    def tell(line: str) -> None:
        if not quiet:
            say(line)

    imported = await _prepare(settings, tell, other_articles_allowed=other_articles_allowed)
    tell("Worker: drains the queue")
    await _drain(settings)
    async with connected(settings) as connection:
        covered = await coverage(connection, FOLDER)
    status = await look(settings)
    hits, _, _ = await find(settings, QUESTION, HITS)
    tell("")
    for line in status_lines(status, settings):
        tell(line)
    tell(f"Articles embedded: {covered.embedded} of {covered.articles}")
    tell(f'\nembedq-tui search "{QUESTION}"')
    for number, hit in enumerate(hits, start=1):
        for line in hit_lines(number, hit):
            if not quiet:
                say_wrapped(line, 11)
    return Shown(imported, covered, status, hits)


async def _refuse_other_articles(connection: DirectConnection, settings: Settings) -> None:
    """Keep the demo's articles out of a database that somebody else uses.

    Raises:
        EmbedqError: There are other articles.
    """
    others = (await coverage(connection)).articles - (await coverage(connection, FOLDER)).articles
    if others:
        raise EmbedqError(
            f"{settings.place} holds {count(others, 'article')} that the demo did not make",
            "unset DATABASE_URL for a server of the demo's own, or add --yes",
        )


async def _drain(settings: Settings) -> None:
    """Run a worker as an operator would, until the queue is empty.

    Raises:
        EmbedqError: It failed.
    """
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "embedq_worker", "--drain", "--concurrency", "2", "--batch-size", "20"),
        *("--log-level", "warn", "--env-file", str(NO_FILE)),
        env=environment_of(settings, os.environ),
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        code = await worker.wait()
    except asyncio.CancelledError:
        worker.terminate()
        await worker.wait()
        raise
    if code:
        raise EmbedqError(f"the worker ended with exit code {code}", "its last lines are above")
