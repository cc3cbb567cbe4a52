"""Search by meaning: the query, the best matches, and an explanation if there are none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static
from textual.worker import get_current_worker

from embedq_tui.live.questions import Question
from embedq_tui.rendering.keys import key
from embedq_tui.rendering.styles import BAD, DOUBTFUL, GOOD, HEAD, NAME, QUIET
from embedq_tui.rendering.words import count
from embedq_tui.screens.base import ConsoleScreen
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_tui.widgets.lines import Lines
from embedq_tui.widgets.rows import Column, Row
from embedq_tui.workflows.searching import Query, look_up
from embedq_worker.configuration.settings import Settings
from embedq_worker.content.search import SearchHit
from embedq_worker.database.connections import Connection
from embedq_worker.errors import EmbedqError
from embedq_worker.providers.base import Provider, ProviderUnavailable, Vector
from embedq_worker.providers.factory import open_provider
from embedq_worker.schema.state import require_current
from embedq_worker.text import age, printable_line

if TYPE_CHECKING:
    from textual.worker import Worker

FOUND = 50
"""Maximum number of articles."""

PROVIDER_S = 20.0
"""Seconds the provider may take to embed the query."""

_COLUMNS = (
    Column("score", "Score", 6),
    Column("title", "Article", 28),
    Column("heading", "Heading", 30, hidden_below=110),
    Column("snippet", "Text", 0),
)


@dataclass(frozen=True, eq=False)
class Nearest(Question[tuple[list[SearchHit], EmbedqError | None]]):
    """The articles nearest to a query, and why there are none, if so."""

    within_s = 60.0

    vector: Vector
    model: str
    query: Query

    async def ask(
        self, connection: Connection, settings: Settings
    ) -> tuple[list[SearchHit], EmbedqError | None]:
        """Ask it once."""
        await require_current(connection)
        return await look_up(connection, self.vector, self.model, self.query)


class ArticleSearchScreen(ConsoleScreen):
    """Searches articles by meaning.

    Args:
        folder: Only this folder and its subfolders; empty for all.
    """

    MODE = "articles"
    AUTO_FOCUS = "#query"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", id="search.back", tooltip="Stop the search, or go back"),
        Binding("slash,s", "query", "Query", id="search.query", tooltip="Edit the query"),
        Binding("down", "results", show=False, id="search.results", tooltip="Go to the results"),
    ]

    def __init__(self, folder: str = "") -> None:
        super().__init__()
        self._folder = folder
        self._hits: dict[str, SearchHit] = {}
        self._provider: Provider | None = None
        self._asking: Worker[None] | None = None
        self._began = 0.0
        self._step = ""
        self._notes: tuple[Text, ...] = ()

    def body(self) -> ComposeResult:
        """The query, the hits, one of them in full."""
        place = f" in {self._folder}" if self._folder else ""
        yield Input(
            placeholder=printable_line(f"search the articles{place} by meaning, in your own words"),
            compact=True,
            id="query",
        )
        yield Lines(id="told")
        yield KeyedTable(_COLUMNS, opens=True, id="hits")
        yield Static(id="hit")

    async def on_unmount(self) -> None:
        """Close the provider."""
        if self._provider is not None:
            await self._provider.aclose()

    # -- drawing

    def state_changed(self) -> None:
        """Nothing on this screen depends on the state."""

    def ticked(self, now: datetime) -> None:
        """Show how long the search has been running."""
        self._draw()

    def _draw(self) -> None:
        lines: Iterable[Text] = self._notes
        if self._asking is not None:
            waited = age(time.monotonic() - self._began)
            lines = [Text(f"{self._step} ... {waited}, {key('search.back')}: stop", DOUBTFUL)]
        self.query_one("#told", Lines).show(lines)
        hit = self._hits.get(self._table.current or "")
        self.query_one("#hit", Static).update(Text("\n").join(_in_full(hit)) if hit else "")

    @property
    def _table(self) -> KeyedTable:
        return self.query_one("#hits", KeyedTable)

    # -- searching

    @on(Input.Submitted, "#query")
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        if query := event.value.strip():
            self._asking = self._search(Query(query, FOUND, self._folder))

    @work(group="search", exclusive=True, exit_on_error=False)
    async def _search(self, query: Query) -> None:
        """Ask the provider, then the database; report any error."""
        self._began, notes = time.monotonic(), []
        try:
            vector, model = await self._embed(query.text)
            self._now("Comparing")
            hits, why = await self.session.ask(Nearest(vector, model, query))
            self._show(hits)
            if why is not None:
                notes = [Text(printable_line(why.message), DOUBTFUL), Text(printable_line(why.advice), QUIET)]
            else:
                took = time.monotonic() - self._began
                notes = [Text(f"{count(len(hits), 'article')} by {model}, {took * 1000:,.0f} ms", QUIET)]
        except EmbedqError as error:
            notes = [Text(printable_line(error.message), BAD), Text(printable_line(error.advice), QUIET)]
        except asyncio.CancelledError:
            notes = [Text("Stopped.", QUIET)]
            raise
        finally:
            if self._asking is get_current_worker():  # otherwise another search has started in the meantime
                self._asking, self._notes = None, tuple(notes)
                if self.alive:
                    self._draw()

    async def _embed(self, query: str) -> tuple[Vector, str]:
        self._now("Asking the provider")
        if self._provider is None:
            # Imported in a thread: its library is slow to import, and keys must not wait.
            self._provider = await asyncio.to_thread(open_provider, self.session.settings)
        provider = self._provider
        self._now(f"Asking {printable_line(provider.model)} at {printable_line(provider.endpoint)}")
        try:
            async with asyncio.timeout(PROVIDER_S):
                [vector] = await provider.embed([query])
        except TimeoutError:
            raise ProviderUnavailable(
                f"{provider.model} at {provider.endpoint} did not answer within {PROVIDER_S:g} s",
                f"to check the provider: {key('show.settings')}, then {key('settings.check')}",
            ) from None
        return vector, provider.model

    def _now(self, step: str) -> None:
        self._step = step
        self._draw()

    def _show(self, hits: list[SearchHit]) -> None:
        self._hits = {str(hit.article_id): hit for hit in hits}
        self._table.show((_row(key, hit) for key, hit in self._hits.items()), at=0)
        if hits:
            self.set_focus(self._table)

    # -- keys

    @on(KeyedTable.RowHighlighted, "#hits")
    def _moved(self, event: KeyedTable.RowHighlighted) -> None:
        event.stop()
        self._draw()

    @on(KeyedTable.AtEdge, "#hits")
    def _beyond(self, event: KeyedTable.AtEdge) -> None:
        """Moving up from the first hit goes to the query."""
        event.stop()
        if not event.forward and not event.jumped:
            self.action_query()

    @on(KeyedTable.RowSelected, "#hits")
    def _open(self, event: KeyedTable.RowSelected) -> None:
        event.stop()
        if event.row_key.value is not None:
            self.console.show_article(int(event.row_key.value))

    def action_query(self) -> None:
        """Focus the query."""
        self.set_focus(self.query_one("#query"))

    def action_results(self) -> None:
        """Focus the hits."""
        if self._hits:
            self.set_focus(self._table)

    def action_back(self) -> None:
        """Stop the search, or go back if none is running."""
        if self._asking is not None:
            self._asking.cancel()
        else:
            self.dismiss()


def _row(key: str, hit: SearchHit) -> Row:
    style = GOOD if hit.score >= 0.5 else DOUBTFUL if hit.score >= 0.25 else QUIET
    cells = (
        Text(f"{hit.score:.3f}", style),
        Text(printable_line(hit.title or hit.slug, 200)),
        Text(printable_line(hit.path, 200), QUIET),
        Text(printable_line(hit.snippet)),
    )
    return Row(key, cells)


def _in_full(hit: SearchHit) -> Iterable[Text]:
    yield Text.assemble((printable_line(hit.title or ""), HEAD), (f"  {printable_line(hit.slug)}", NAME))
    if path := printable_line(hit.path):
        yield Text(path, QUIET)
    yield Text(printable_line(hit.snippet))
