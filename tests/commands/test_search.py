"""`embedq-tui search`: what is found, and why nothing is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from embedq_worker.errors import ExitCode
from tests.commands.actors import embed
from tests.commands.running import Tui
from tests.support.content import add_articles
from tests.support.databases import Connection
from tests.support.provider_stub import Fault, ProviderStub


@pytest.fixture(autouse=True)
async def stub(tui: Tui) -> AsyncIterator[ProviderStub]:
    """A provider that answers."""
    async with ProviderStub() as stub:
        tui.variables["OPENAI_BASE_URL"] = stub.openai_url
        yield stub


async def test_what_is_found(tui: Tui, connection: Connection) -> None:
    for article in await add_articles(connection, ["one [/x] \x1b[31m", "two"], folder="ops"):
        await embed(connection, article)
    answer = await tui("search", "anything", "--json")
    assert answer.code == ExitCode.OK
    document = answer.document("search")
    assert [hit["slug"] for hit in document["hits"]] == ["article-0", "article-1"]
    assert document["hits"][0]["heading_path"] == ["Part"]
    assert (document["model"], document["reason"]) == ("openai/stub", None)
    answer = await tui("search", "anything", "--limit", "1", "--folder", "ops")
    assert "article-0" in answer.out
    assert "[/x]" in answer.out
    assert "\x1b" not in answer.out
    assert "article-1" not in answer.out


@pytest.mark.parametrize(
    ("stored", "arguments", "word"),
    [
        ([], [], "backfill"),
        (["x/other"], [], "x/other (1 article)"),
        ([None], [], "--any-model"),
        (["openai/stub"], ["--folder", "elsewhere"], "--folder"),
    ],
)
async def test_why_nothing_is_found(
    tui: Tui, connection: Connection, stored: list[str | None], arguments: list[str], word: str
) -> None:
    for article, model in zip(await add_articles(connection, ["a"] * len(stored)), stored, strict=True):
        await embed(connection, article, model=model or "x/y")
        if model is None:
            await connection.execute("UPDATE embeddings SET model = NULL; DELETE FROM embedq_articles")
    answer = await tui("search", "anything", *arguments)
    assert (answer.code, answer.out) == (ExitCode.NO, "")
    assert len(answer.complaint) == 2
    assert word in answer.err
    answer = await tui("search", "anything", "--json", *arguments)
    assert answer.code == ExitCode.NO
    assert answer.document("search")["reason"] is not None
    assert answer.err == ""


async def test_vectors_of_unknown_model_can_be_asked_for(tui: Tui, connection: Connection) -> None:
    for article in await add_articles(connection, ["a"]):
        await embed(connection, article)
    await connection.execute("UPDATE embeddings SET model = NULL")
    assert (await tui("search", "anything")).code == ExitCode.NO
    assert (await tui("search", "anything", "--any-model")).code == ExitCode.OK


async def test_an_empty_query_and_a_dead_provider(tui: Tui, stub: ProviderStub) -> None:
    assert (await tui("search", "  ")).code == ExitCode.USAGE
    stub.faults.fault = Fault.STATUS
    answer = await tui("search", "anything")
    assert answer.code == ExitCode.UNREACHABLE
    assert len(answer.complaint) in (1, 2)
