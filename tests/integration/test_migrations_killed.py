"""A migrator that is killed: the next one goes on, and the schema is that of one that was not."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress

import pytest

from embedq_worker.backoff import Backoff
from embedq_worker.schema import migrations
from embedq_worker.schema.session import Patience
from embedq_worker.schema.state import status
from tests.support.catalog import catalog
from tests.support.databases import DIMENSIONS, Database, Server
from tests.support.legacy import make_legacy, public_rows
from tests.support.waiting import until

pytestmark = pytest.mark.matrix

QUICK = Patience(lock_s=0.2, total_s=60, between=Backoff(0.02, 0.1))

_MIGRATOR = """
import asyncio, sys
from embedq_worker.schema import migrations
from embedq_worker.schema.state import status
from embedq_worker.configuration.settings import Settings

def report(line):
    print(line, flush=True)

settings = Settings(_env_file=None, database_url=sys.argv[1], dimensions_wanted=int(sys.argv[2]))
report("ready")
print(asyncio.run(migrations.up(settings, report)), flush=True)
"""


async def start_migrator(database: Database) -> Process:
    """A process that migrates; it is past its imports."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _MIGRATOR, database.url, str(DIMENSIONS), stdout=PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def kill(process: Process) -> bool:
    """Kill -9; whether there was still something to kill."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)  # kill() would first look for its end, and keep it to itself
    return await process.wait() != 0


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=pytest.mark.slow if seed else ()) for seed in range(6)]
)
async def test_killed_at_random_points(server: Server, empty_database: Database, seed: int) -> None:
    rng = random.Random(seed)
    connection = await empty_database.connect()
    await make_legacy(connection)
    rows = await public_rows(connection)
    killed = 0
    for delay_s in sorted(
        rng.uniform(0.0, 0.15) for _ in range(8)
    ):  # of the last ones, some may find all done
        process = await start_migrator(empty_database)
        await asyncio.sleep(delay_s)  # the point in time is what is tested
        killed += await kill(process)
    assert killed
    await migrations.up(empty_database.settings, patience=QUICK)
    assert await migrations.verify(connection) == []
    assert await public_rows(connection) == rows

    async with server.new_database() as clean:
        await make_legacy(await clean.connect())
        await migrations.up(clean.settings)
        assert await catalog(connection) == await catalog(await clean.connect())


@pytest.mark.slow
async def test_killed_after_each_version(server: Server, empty_database: Database) -> None:
    connection = await empty_database.connect()
    while any(state.state == "pending" for state in await status(connection)):
        process = await start_migrator(empty_database)
        assert process.stdout is not None
        while b"applied" not in (await process.stdout.readline() or b"applied"):
            pass
        await kill(process)
    assert await migrations.verify(connection) == []
    async with server.new_database() as clean:
        await migrations.up(clean.settings)
        assert await catalog(connection) == await catalog(await clean.connect())


async def test_killed_in_the_middle_of_an_index(empty_database: Database) -> None:
    connection, holder = await empty_database.connect(), await empty_database.connect()
    await make_legacy(connection)
    await migrations.up(empty_database.settings, target=5)
    await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class")
    process = await start_migrator(empty_database)
    assert process.stdout is not None
    assert b"is waiting" in await process.stdout.readline()
    await kill(process)
    assert await connection.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 1

    # A server that does not look after its client goes on with the statement, and so the lock holds.
    lines: list[str] = []
    running = asyncio.create_task(migrations.up(empty_database.settings, lines.append, patience=QUICK))
    await until(lambda: bool(lines), within_s=20)
    await holder.execute("ROLLBACK")
    assert (await running)[0] == 6
    assert await migrations.verify(connection) == []
    assert await connection.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0


async def test_the_lock_of_a_dead_migrator_goes_by_itself(empty_database: Database) -> None:
    connection, holder = await empty_database.connect(), await empty_database.connect()
    await make_legacy(connection)
    await holder.execute("BEGIN; LOCK TABLE embedding_tasks IN ROW EXCLUSIVE MODE")
    process = await start_migrator(empty_database)
    assert process.stdout is not None
    while b"is waiting" not in await process.stdout.readline():
        pass
    await kill(process)
    await holder.execute("ROLLBACK")
    assert (await migrations.up(empty_database.settings, patience=QUICK))[0] == 3
