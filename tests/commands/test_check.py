"""`embedq-tui check`: whether a worker could work, and what keeps it from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from embedq_worker.errors import ExitCode
from tests.commands.running import Answer, Tui
from tests.support.databases import DIMENSIONS, Connection, Database
from tests.support.provider_stub import Fault, ProviderStub
from tests.support.tcp_proxy import TcpProxy


@pytest.fixture
async def stub() -> AsyncIterator[ProviderStub]:
    """A provider that answers."""
    async with ProviderStub() as stub:
        yield stub


def verdicts(answer: Answer) -> dict[str, str]:
    """Verdict by name of the check."""
    document: Any = answer.document("check")
    assert document["ok"] is (answer.code == ExitCode.OK)
    assert all(check["advice"] for check in document["checks"] if check["verdict"] == "fail")
    return {check["name"]: check["verdict"] for check in document["checks"]}


async def test_a_worker_could_work(tui: Tui, stub: ProviderStub) -> None:
    answer = await tui("check", "--json", OPENAI_BASE_URL=stub.openai_url)
    assert answer.code == ExitCode.OK
    assert set(verdicts(answer).values()) == {"ok"}
    assert stub.seen.requests == 1
    text = await tui("check", OPENAI_BASE_URL=stub.openai_url)
    assert text.err == ""
    assert "openai/stub" in text.out
    assert "sk-test" not in answer.out + text.out


async def test_the_database_is_down(anywhere: Tui, stub: ProviderStub) -> None:
    answer = await anywhere(
        "check", "--json", OPENAI_BASE_URL=stub.openai_url, EMBEDDING_DIMENSIONS=DIMENSIONS
    )
    assert answer.code == ExitCode.UNREACHABLE
    assert verdicts(answer) == {"settings": "ok", "database": "fail", "provider": "ok"}


async def test_the_provider_is_down(tui: Tui) -> None:
    answer = await tui("check", "--json", OPENAI_BASE_URL="http://127.0.0.1:1/v1")
    assert answer.code == ExitCode.UNREACHABLE
    found = verdicts(answer)
    assert found.pop("provider") == "fail"
    assert set(found.values()) == {"ok"}


async def test_the_provider_refuses_the_key(tui: Tui, stub: ProviderStub) -> None:
    stub.faults.fault = Fault.STATUS
    stub.faults.status = 401
    answer = await tui("check", "--json", OPENAI_BASE_URL=stub.openai_url)
    assert answer.code == ExitCode.NO
    assert verdicts(answer)["provider"] == "fail"
    assert "sk-test" not in answer.out


@pytest.mark.pgvector
async def test_the_column_has_other_dimensions(tui: Tui) -> None:
    async with ProviderStub(dimensions=16) as stub:
        answer = await tui("check", "--json", OPENAI_BASE_URL=stub.openai_url, EMBEDDING_DIMENSIONS=16)
    assert answer.code == ExitCode.NO
    assert verdicts(answer) | {"vectors": "fail", "provider": "ok"} == verdicts(answer)
    assert "EMBEDDING_DIMENSIONS=8" in answer.out


async def test_behind_a_pooler_of_transactions_it_says_that_signals_do_not_arrive(
    tui: Tui, stub: ProviderStub, database: Database
) -> None:
    async with TcpProxy(database.url, deaf=True) as proxy:
        answer = await tui("check", "--json", OPENAI_BASE_URL=stub.openai_url, DATABASE_URL=proxy.url)
    assert verdicts(answer)["listen"] == "warn"


async def test_the_schema_is_missing(bare_tui: Tui, stub: ProviderStub) -> None:
    answer = await bare_tui("check", "--json", OPENAI_BASE_URL=stub.openai_url)
    assert answer.code == ExitCode.NO
    found = verdicts(answer)
    assert found["schema"] == "fail"
    assert found["listen"] == "ok"
    assert "vectors" not in found


async def test_the_role_lacks_rights(
    tui: Tui, stub: ProviderStub, database: Database, connection: Connection
) -> None:
    name = urlsplit(database.url).path.lstrip("/")
    role = f"reader_{name}"
    await connection.execute(
        f"""CREATE ROLE {role} LOGIN PASSWORD 'reads';
            GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};
            REVOKE EXECUTE ON FUNCTION embedq_fold_counts(boolean) FROM public"""
    )
    try:
        url = urlsplit(database.url)
        login = url._replace(netloc=f"{role}:reads@{url.netloc.rpartition('@')[2]}").geturl()
        answer = await tui("check", "--json", OPENAI_BASE_URL=stub.openai_url, DATABASE_URL=login)
    finally:
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert answer.code == ExitCode.NO
    assert verdicts(answer)["rights"] == "fail"
    assert "reads@" not in answer.out


async def test_a_read_only_session(tui: Tui, stub: ProviderStub, database: Database) -> None:
    url = f"{database.url}?default_transaction_read_only=on"
    answer = await tui("check", "--json", OPENAI_BASE_URL=stub.openai_url, DATABASE_URL=url)
    assert answer.code == ExitCode.NO
    assert verdicts(answer)["server"] == "fail"


async def test_settings_that_hardly_fit_are_no_failure(tui: Tui, stub: ProviderStub) -> None:
    answer = await tui("check", "--json", OPENAI_BASE_URL=stub.openai_url, CHUNK_SIZE=20, CHUNK_OVERLAP=15)
    assert answer.code == ExitCode.OK
    assert verdicts(answer)["settings"] == "warn"
