"""A worker whose database answers, but refuses what it has to write."""

from __future__ import annotations

import asyncio

import pytest

from embedq_worker.insights.health import health
from embedq_worker.insights.issues import Code
from tests.support.content import add_articles, queue_tasks, queued_articles, until_tasks, until_true
from tests.support.databases import Connection, Database
from tests.support.oracle import judge
from tests.support.provider_stub import ProviderStub
from tests.support.waiting import until
from tests.support.worker_process import environment, run_worker_process, worker_process

pytestmark = pytest.mark.usefixtures("witness")

SICK = {
    "53100": "could not extend file: No space left on device",
    "58030": "could not read block 7: Input/output error",
    "55P03": "canceling statement due to lock timeout",
    "25P04": "terminating connection due to transaction timeout",
    "57014": "canceling statement due to statement timeout",
    "XX000": "cache lookup failed for relation 7",
    "XX002": "could not find the left sibling of block 7",
    "23502": "null value in column updated_at violates not-null constraint",
    "2200H": "nextval: reached maximum value of sequence",
    "42P01": "the relation that a trigger uses does not exist",
}


async def test_a_sick_database_costs_no_attempt_and_health_says_what_it_lacks(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await connection.execute(
        f"""CREATE FUNCTION sick() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE
                v_codes text[] := '{{{",".join(SICK)}}}'; v_words text[] := '{{{",".join(SICK.values())}}}';
                v_which int := NEW.article_id % {len(SICK)} + 1; BEGIN
            RAISE EXCEPTION '%', v_words[v_which] USING ERRCODE = v_codes[v_which];
        END $$;
        CREATE TRIGGER sick BEFORE INSERT ON embeddings FOR EACH ROW EXECUTE FUNCTION sick()"""
    )
    variables = environment(database, stub, EMBEDDING_QUEUE_HEARTBEAT_INTERVAL=300_000)
    async with worker_process(variables, "--concurrency", str(len(SICK))) as worker:
        await worker.started()
        await queued_articles(connection, len(SICK))
        await until_tasks(connection, processing=len(SICK))
        await until_true(connection, "SELECT EXISTS (SELECT FROM embedq_workers WHERE note <> '')")
        found = await health(connection, database.settings)
        assert [issue.code for issue in found.issues] == [Code.DATABASE_REFUSES]
        assert any(words in found.issues[0].message for words in SICK.values())
        assert any(words in worker.text for words in SICK.values())
        await connection.execute("DROP TRIGGER sick ON embeddings")
        await until_tasks(connection, completed=len(SICK))
        await until_true(connection, "SELECT NOT EXISTS (SELECT FROM embedq_workers WHERE note <> '')")
        assert (await health(connection, database.settings)).healthy
        assert await worker.stop() == 0
    assert await judge(connection, blameless=True) == []


@pytest.mark.parametrize("statement", ["INSERT INTO nowhere VALUES (NEW.id)", "RAISE 'nowhere'"])
async def test_a_failure_that_the_database_does_not_take_is_known_and_embeds_nothing_again(
    database: Database, connection: Connection, stub: ProviderStub, statement: str
) -> None:
    stub.faults.poison = "indigestible"
    await connection.execute(
        f"""CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN {statement}; RETURN NEW; END $$;
           CREATE TRIGGER tell BEFORE UPDATE ON embedding_tasks FOR EACH ROW WHEN (NEW.status = 'failed')
           EXECUTE FUNCTION tell()"""
    )
    variables = environment(database, stub, EMBEDDING_QUEUE_HEARTBEAT_INTERVAL=1000)
    async with worker_process(variables) as worker:
        await worker.started()
        await queued_articles(connection, 1)
        await until_tasks(connection, completed=1)
        before = stub.seen.inputs
        await queue_tasks(connection, await add_articles(connection, ["an indigestible text"], slug="bad"))
        await until_true(connection, "SELECT EXISTS (SELECT FROM embedq_workers WHERE note <> '')")
        found = await health(connection, database.settings)
        assert [issue.code for issue in found.issues] == [Code.DATABASE_REFUSES]
        assert "nowhere" in found.issues[0].message
        assert stub.seen.inputs - before <= 2  # the text, and a control text
        await connection.execute("DROP TRIGGER tell ON embedding_tasks")
        await until_tasks(connection, completed=1, failed=1)
        assert await worker.stop() == 0


async def test_a_worker_starts_although_the_database_does_not_take_what_it_finds_of_its_provider(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await connection.execute(
        """CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no errors here'; END $$;
           CREATE TRIGGER no BEFORE INSERT ON embedding_audit_logs FOR EACH ROW WHEN (NEW.level = 'error')
           EXECUTE FUNCTION no()"""
    )
    stub.faults.api_key = "another"
    await queued_articles(connection, 1)
    async with worker_process(environment(database, stub)) as worker:
        await until_true(connection, "SELECT EXISTS (SELECT FROM embedq_workers WHERE note ~ 'errors here')")
        stub.faults.api_key = ""
        await connection.execute("DROP TRIGGER no ON embedding_audit_logs")
        await until_tasks(connection, completed=1)
        assert await worker.stop() == 0
    assert await judge(connection, blameless=True) == []


async def test_a_table_that_is_renamed_meanwhile_costs_a_restart_and_no_attempt(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    variables = environment(database, stub)
    async with worker_process(variables) as worker:
        await worker.started()
        stub.faults.hold = asyncio.Event()
        await queued_articles(connection, 2)
        await until(lambda: stub.seen.in_flight == 1)
        await connection.execute("ALTER TABLE embeddings RENAME TO elsewhere")
        stub.faults.hold.set()
        assert await worker.ended() == 1
        assert "embeddings" in worker.plain_lines[0]
    await connection.execute("ALTER TABLE elsewhere RENAME TO embeddings")
    code, again = await run_worker_process(variables, "--drain")
    assert code == 0, again.text
    assert await judge(connection, blameless=True) == []


@pytest.mark.slow
async def test_who_keeps_a_claim_waiting_is_known_while_it_waits(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    noted = "SELECT note <> '' FROM embedq_workers"
    variables = environment(database, stub, EMBEDDING_QUEUE_HEARTBEAT_INTERVAL=300_000)
    async with worker_process(variables) as worker:
        await worker.started()
        psql = await database.connect()
        async with psql.transaction():
            await psql.execute("LOCK TABLE embedding_tasks IN EXCLUSIVE MODE")
            await connection.execute("NOTIFY embedq_work")
            await until_true(connection, noted, within_s=25)
            found = await health(connection, database.settings)
            assert [issue.code for issue in found.issues] == [Code.DATABASE_REFUSES]
            assert f"session {psql.get_server_pid()} " in found.issues[0].message
        await until_true(connection, f"SELECT NOT ({noted})")
        assert (await health(connection, database.settings)).healthy
        assert not worker.heard("claiming failed")
        assert await worker.stop() == 0
