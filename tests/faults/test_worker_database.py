"""A worker whose database goes away, comes back, or is only pretended to be there."""

from __future__ import annotations

import asyncio
import signal
from uuid import uuid4

import pytest

from embedq_worker.database.failures import EXPECTED_ERRORS, explained
from tests.support.content import (
    add_articles,
    queue_tasks,
    queued_articles,
    statuses,
    until_tasks,
    until_true,
)
from tests.support.crashing import crashing_server
from tests.support.databases import Connection, Database
from tests.support.oracle import judge
from tests.support.postgres import embedded_binaries
from tests.support.provider_stub import ProviderStub
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until
from tests.support.worker_process import BATCHES, environment, run_worker_process, worker_process

pytestmark = pytest.mark.usefixtures("witness")


async def cut_off(connection: Connection, name: str = "embedq-worker%") -> int:
    """End all connections of workers to this database.

    Returns:
        How many there were.
    """
    ended = await connection.fetchval(
        """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
           WHERE datname = current_database() AND application_name LIKE $1""",
        name,
    )
    return int(ended)


@pytest.mark.slow
async def test_connections_cut_again_and_again_cost_nothing(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    articles = await queued_articles(connection, 300)
    variables = environment(database, stub, EMBEDDING_WORKER_INTERVAL=200)
    async with worker_process(variables, "--drain", *BATCHES) as worker:
        await worker.started()
        cuts = 0
        while worker.running and cuts < 12:
            cuts += await cut_off(connection) > 0
            await asyncio.sleep(0.15)
        assert await worker.ended() == 0, worker.text
        assert worker.plain_lines == []
    assert cuts > 2
    assert await statuses(connection) == {"completed": len(articles)}
    assert await judge(connection, blameless=True) == []


async def cut_off_while_completing(connection: Connection) -> None:
    await until_true(
        connection,
        """SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity
           WHERE datname = current_database() AND wait_event = 'PgSleep'
             AND query LIKE '%embedq_complete(%'""",
    )


async def test_a_completion_cut_in_the_middle_is_made_again(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await connection.execute(
        """CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END $$;
           CREATE TRIGGER slow AFTER INSERT ON embeddings FOR EACH STATEMENT EXECUTE FUNCTION slow()"""
    )
    await queued_articles(connection, 10)
    async with worker_process(environment(database, stub), *BATCHES) as worker:
        for _ in range(3):
            await cut_off_while_completing(connection)
        await until_tasks(connection, completed=10)
        assert await worker.stop() == 0
    assert await judge(connection, blameless=True) == []
    assert await connection.fetchval("SELECT sum(attempts) FROM embedding_tasks") == 10
    assert stub.seen.inputs == 11  # one is the check at start: nothing was embedded twice


@pytest.mark.parametrize("drain", [False, True])
async def test_a_claim_whose_answer_is_lost_is_given_back_as_soon_as_the_database_answers(
    database: Database, connection: Connection, stub: ProviderStub, drain: bool
) -> None:
    await connection.execute(
        """CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$;
           CREATE TRIGGER slow AFTER UPDATE ON embedding_tasks FOR EACH ROW
               WHEN (NEW.status = 'processing' AND NEW.claim_token = 1) EXECUTE FUNCTION slow()"""
    )
    claiming = """SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                                 AND wait_event = 'PgSleep' AND query LIKE '%embedq_claim%')"""
    async with TcpProxy(database.url) as proxy:
        variables = environment(database, stub, DATABASE_URL=proxy.url)
        if drain:
            await queued_articles(connection, 1)
        async with worker_process(variables, *BATCHES, *(["--drain"] if drain else [])) as worker:
            await worker.started()
            if not drain:
                await queued_articles(connection, 1)
            await until_true(connection, claiming)
            proxy.cut()  # the server commits the claim, and finds nobody to tell
            await until_tasks(connection, completed=1, within_s=10)
            assert await (worker.ended() if drain else worker.stop()) == 0
    assert await judge(connection, blameless=True) == []


async def test_what_a_heartbeat_could_not_report_is_reported_by_the_next(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await connection.execute(
        """CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE 'no space' USING ERRCODE = 'disk_full'; END $$;
           CREATE TRIGGER full_disk BEFORE UPDATE ON embedding_worker_status FOR EACH ROW
               WHEN (NEW.tasks_processed > OLD.tasks_processed) EXECUTE FUNCTION full_disk()"""
    )
    variables = environment(database, stub, EMBEDDING_QUEUE_HEARTBEAT_INTERVAL=3_000)
    async with worker_process(variables) as worker:
        await worker.started()
        await queued_articles(connection, 3)
        await worker.until_heard("no heartbeat")
        await until_tasks(connection, completed=3)
        await connection.execute("DROP TRIGGER full_disk ON embedding_worker_status")
        await until_true(connection, "SELECT tasks_processed = 3 FROM embedding_worker_status")
        assert await worker.stop() == 0


async def test_a_database_that_turns_read_only_is_waited_for(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    """Sessions that began meanwhile stay read-only for ever, and have to be replaced."""
    name = await connection.fetchval("SELECT current_database()")
    async with worker_process(environment(database, stub, EMBEDDING_WORKER_INTERVAL=200), *BATCHES) as worker:
        await worker.started()
        stub.faults.hold = asyncio.Event()
        await queued_articles(connection, 10)
        await until(lambda: stub.seen.in_flight == 1)
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await cut_off(connection)
        stub.faults.hold.set()
        await worker.until_heard("no heartbeat")
        await worker.until_heard("claiming failed")
        await connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await until_tasks(connection, completed=10, within_s=10)
        assert not worker.heard("a batch failed")
        assert await worker.stop() == 0
    assert await judge(connection, blameless=True) == []


@pytest.mark.pgvector
@pytest.mark.parametrize(
    "change",
    [
        "CREATE SCHEMA elsewhere; ALTER EXTENSION vector SET SCHEMA elsewhere",
        "DROP EXTENSION vector CASCADE; CREATE EXTENSION vector; ALTER TABLE embeddings ADD vector vector(8)",
        "ALTER TABLE embeddings DROP vector, ADD vector_data jsonb",
    ],
    ids=["moved", "made anew", "to jsonb"],
)
async def test_a_column_for_vectors_that_is_altered_meanwhile_costs_a_restart_and_no_attempt(
    database: Database, connection: Connection, stub: ProviderStub, change: str
) -> None:
    variables = environment(database, stub)
    async with worker_process(variables, *BATCHES) as worker:
        await worker.started()
        stub.faults.hold = asyncio.Event()
        await queued_articles(connection, 30)
        await until(lambda: stub.seen.in_flight == 2)
        await connection.execute(change)
        stub.faults.hold.set()
        assert await worker.ended() == 1
        assert worker.plain_lines[0].startswith("embedq-worker: "), worker.text
    # A connection that was opened after the change may have stored a batch as it is now wanted.
    assert set(await statuses(connection)) <= {"pending", "completed"}, worker.text
    code, again = await run_worker_process(variables, "--drain", *BATCHES)
    assert code == 0, again.text
    assert await judge(connection, blameless=True) == []


async def test_a_worker_without_work_ends_when_its_schema_is_migrated_for_a_later_release(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with worker_process(environment(database, stub, EMBEDDING_WORKER_INTERVAL=200)) as worker:
        await worker.started()
        await connection.execute(
            """INSERT INTO embedq_migrations (version, name, checksum, program, seconds)
               VALUES (999, 'later', '', '9.0.0', 0);
               DROP FUNCTION embedq_claim"""  # a renamed one is still found by statements that are prepared
        )
        assert await worker.ended() == 1
        assert "9.0.0" in worker.plain_lines[0], worker.text


async def test_a_worker_whose_schema_is_migrated_for_a_later_release_waits_no_longer_than_the_grace_period(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    variables = environment(database, stub, EMBEDDING_WORKER_INTERVAL=200, EMBEDDING_SHUTDOWN_GRACE=300)
    async with worker_process(variables, "--concurrency", "2") as worker:
        await worker.started()
        stub.faults.hold = asyncio.Event()
        await queued_articles(connection, 1)
        await until(lambda: stub.seen.in_flight == 1)
        await connection.execute(
            """INSERT INTO embedq_migrations (version, name, checksum, program, seconds)
               VALUES (999, 'later', '', '9.0.0', 0)"""
        )
        assert await worker.ended(within_s=15) == 1
    assert await statuses(connection) == {"pending": 1}


async def test_a_right_to_store_that_is_lacking_costs_no_attempt(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    role = f"embedq_{uuid4().hex[:8]}"
    url = database.url.replace("://postgres@", f"://{role}@")
    variables = environment(database, stub, DATABASE_URL=url)
    await connection.execute(
        f"""CREATE ROLE {role} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};
            GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"""
    )
    try:
        await connection.execute(f"REVOKE INSERT ON embeddings FROM {role}")
        code, worker = await run_worker_process(variables, *BATCHES)
        assert (code, "embeddings: INSERT" in "\n".join(worker.plain_lines)) == (1, True), worker.text
        await connection.execute(f"GRANT INSERT ON embeddings TO {role}")
        async with worker_process(variables, *BATCHES) as worker:
            await worker.started()
            stub.faults.hold = asyncio.Event()
            await queued_articles(connection, 30)
            await until(lambda: stub.seen.in_flight == 2)
            await connection.execute(f"REVOKE INSERT ON embeddings FROM {role}")
            stub.faults.hold.set()
            assert await worker.ended() == 1
        assert await statuses(connection) == {"pending": 30}
        await connection.execute(f"GRANT INSERT ON embeddings TO {role}")
        await connection.execute("ALTER TABLE embeddings ENABLE ROW LEVEL SECURITY")
        code, worker = await run_worker_process(variables, *BATCHES)
        assert (code, "embeddings: a policy" in worker.text) == (1, True), worker.text
        await connection.execute("ALTER TABLE embeddings DISABLE ROW LEVEL SECURITY")
        code, worker = await run_worker_process(variables, "--drain", *BATCHES)
        assert code == 0, worker.text
        for policy in ("CREATE POLICY seen ON embedding_tasks FOR SELECT USING (true)", ""):
            async with worker_process(variables | {"EMBEDDING_WORKER_INTERVAL": "200"}) as worker:
                await worker.started()
                await connection.execute(f"ALTER TABLE embedding_tasks ENABLE ROW LEVEL SECURITY; {policy}")
                await queue_tasks(
                    connection, await add_articles(connection, ["hidden"], slug=f"p{policy[:1]}")
                )
                assert await worker.ended() == 1
                assert "embedding_tasks: a policy" in worker.text
            await connection.execute("ALTER TABLE embedding_tasks DISABLE ROW LEVEL SECURITY")
            await connection.execute("DROP POLICY IF EXISTS seen ON embedding_tasks")
        code, worker = await run_worker_process(variables, "--drain", *BATCHES)
        assert code == 0, worker.text
    finally:
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert await judge(connection, blameless=True) == []


IDLE = """SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle'
                         AND query LIKE '%embedq_claim(%'
                         AND state_change < clock_timestamp() - interval '0.5 s')"""


async def test_what_was_queued_while_the_database_was_away_is_claimed_as_soon_as_it_answers(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with TcpProxy(database.url, deaf=True) as proxy:
        variables = environment(
            database,
            stub,
            DATABASE_URL=proxy.url,
            EMBEDDING_WORKER_INTERVAL=3_600_000,
            EMBEDDING_QUEUE_HEARTBEAT_INTERVAL=1000,
        )
        async with worker_process(variables) as worker:
            await worker.started()
            await until_true(connection, IDLE)
            proxy.refuses = True
            proxy.cut()
            await worker.until_heard("no heartbeat")
            await queued_articles(connection, 1)
            proxy.refuses = False
            await until_tasks(connection, completed=1)
            assert await worker.stop() == 0


# -- connections that are dead, and nobody says so


@pytest.mark.slow
async def test_a_worker_whose_connections_die_in_silence_goes_on_within_half_a_minute(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with TcpProxy(database.url) as proxy:
        variables = environment(database, stub, DATABASE_URL=proxy.url)
        async with worker_process(variables, *BATCHES) as worker:
            await worker.started()
            stub.faults.hold = asyncio.Event()
            await queued_articles(connection, 30)
            await until(lambda: stub.seen.in_flight == 2)
            proxy.swallow()
            stub.faults.hold.set()
            await until_tasks(connection, completed=30, within_s=35)
            assert await worker.stop() == 0
    assert await judge(connection, blameless=True) == []


# -- a server of its own


@pytest.mark.slow
async def test_a_server_that_is_restarted_is_waited_for(stub: ProviderStub) -> None:
    async with (
        crashing_server(embedded_binaries()) as crashing,
        crashing.server.new_database(crashing.server.template) as database,
    ):
        connection = await database.connect()
        await queued_articles(connection, 400)
        stub.faults.latency_s = 0.02
        variables = environment(database, stub, EMBEDDING_WORKER_INTERVAL=200)
        async with worker_process(variables, *BATCHES) as worker:
            await worker.started()
            await crashing.end(signal.SIGINT)
            await asyncio.sleep(7.0)  # as long as a refusal lasts that is told
            await crashing.start()
            connection = await database.connect()
            await until_tasks(connection, completed=400, within_s=40)
            await worker.until_heard("listening again")
            assert await worker.stop() == 0
            assert worker.plain_lines == []
            assert not worker.heard("refuses")  # it was away, and then back
        assert await judge(connection, blameless=True) == []
        await connection.close()


async def test_prepared_statements_that_a_pooler_takes_apart_are_told_with_the_setting_that_helps(
    database: Database, connection: Connection
) -> None:
    await connection.execute("PREPARE one AS SELECT 1")
    for statement in ("PREPARE one AS SELECT 1", "EXECUTE another"):  # what there is already, or is not there
        with pytest.raises(EXPECTED_ERRORS) as caught:
            await connection.execute(statement)
        assert "DB_STATEMENT_CACHE" in explained(caught.value, database.settings).advice


@pytest.mark.slow
async def test_a_worker_that_is_stopped_does_not_wait_for_connections_that_died_in_silence(
    database: Database, stub: ProviderStub
) -> None:
    async with TcpProxy(database.url) as proxy:
        variables = environment(database, stub, DATABASE_URL=proxy.url)
        async with worker_process(variables, *BATCHES) as worker:
            await worker.until_heard("the provider works")
            proxy.swallow()
            assert await worker.stop() == 0  # within 40 s
