"""`embedq-tui search`: search the articles by meaning."""

from __future__ import annotations

from collections.abc import Iterator

import click

from embedq_tui.commands.asking import patiently
from embedq_tui.commands.invocation import FolderValue, Invocation, TextValue, limit_option, operator_command
from embedq_tui.commands.output import print_json, say_wrapped
from embedq_tui.workflows.searching import Query, look_up
from embedq_worker.configuration.settings import Settings
from embedq_worker.content.search import SearchHit
from embedq_worker.database.connections import connected
from embedq_worker.errors import EmbedqError, ExitCode
from embedq_worker.process.running import run
from embedq_worker.providers.factory import open_provider


@click.command("search", epilog='Example: embedq-tui search "how do I catch an exception" --limit 3')
@click.argument("query", type=TextValue())
@limit_option("Articles to show.", default=10, most=1000)
@click.option("--folder", type=FolderValue(), metavar="FOLDER", help="Only this folder and its subfolders.")
@click.option("--any-model", is_flag=True, help="Also vectors stored without a model name by other programs.")
@operator_command
def command(invocation: Invocation, query: str, limit: int, folder: str | None, any_model: bool) -> ExitCode:
    """Search the articles by meaning.

    Embeds the query with the configured provider and compares it with the vectors of the same model.
    Exits 1 if nothing is found, and says why.
    """
    if not query.strip():
        raise click.BadParameter("is empty", param_hint="QUERY")
    settings = invocation.settings()
    hits, model, why = run(patiently(find(settings, query, limit, folder=folder or "", any_model=any_model)))
    if invocation.as_json:
        print_json({"query": query, "model": model, "hits": hits, "reason": why.message if why else None})
    else:
        for number, hit in enumerate(hits, start=1):
            for line in hit_lines(number, hit):
                say_wrapped(line, 11)
        if why:
            raise why
    return ExitCode.OK if hits else ExitCode.NO


async def find(
    settings: Settings, query: str, limit: int, *, folder: str = "", any_model: bool = False
) -> tuple[list[SearchHit], str, EmbedqError | None]:
    """Embed the query and search.

    Args:
        settings: Where the database and the provider are.
        query: What to search for.
        limit: Maximum number of articles.
        folder: Only this folder and its subfolders; empty for all.
        any_model: Also search vectors stored without a model name by other programs.

    Returns:
        The hits, the model used, and why there are none (None if there are hits).

    Raises:
        EmbedqError: The database or the provider fails.
    """
    async with connected(settings) as connection:
        provider = open_provider(settings)
        try:
            [vector] = await provider.embed([query])
        finally:
            await provider.aclose()
        hits, why = await look_up(connection, vector, provider.model, Query(query, limit, folder, any_model))
        return hits, provider.model, why


def hit_lines(number: int, hit: SearchHit) -> Iterator[str]:
    """A hit for people, line by line."""
    yield f"{number:>2}. {hit.score:.3f}  {hit.title}  ({hit.slug})"
    if hit.path:
        yield f"           {hit.path}"
    yield f"           {hit.snippet}"
