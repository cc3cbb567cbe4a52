"""The oracle itself: it finds nothing after a run without faults, and every kind of wrong that is planted."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from tests.support.content import add_articles, queue_tasks, queued_articles
from tests.support.databases import Connection, Database
from tests.support.oracle import Kind, LocalEmbedding, install_witness, judge
from tests.support.piping import bench
from tests.support.provider_stub import ProviderStub
from tests.support.queue_world import World, open_world
from tests.support.vector_storage import store_as_json
from tests.support.worker_process import environment, run_worker_process

ONE = "WHERE article_id = 3"


PLANTED = [
    (Kind.MISSING, "DELETE FROM embeddings WHERE article_id = 3"),
    (Kind.MISSING, "DELETE FROM embeddings WHERE article_id = 7 AND chunk_index = 2"),
    (Kind.UNDONE, "INSERT INTO embedding_tasks (slug, operation) VALUES ('late', 'create')"),
    (Kind.STALE, "UPDATE articles SET content = 'Newer words.' WHERE id = 3"),
    (Kind.STALE, "UPDATE articles SET title = 'Newer title' WHERE id = 3"),
    (Kind.STALE, "UPDATE articles SET slug = 'newer' WHERE id = 3"),
    (Kind.STALE, "UPDATE embeddings SET heading_path = '{Elsewhere}' WHERE article_id = 3"),
    (Kind.STALE, "UPDATE embedq_articles SET source = 'x' WHERE article_id = 3"),
    (Kind.MODEL, "UPDATE embeddings SET model = 'openai/other' WHERE article_id = 3"),
    (Kind.MODEL, "UPDATE embeddings SET model = NULL WHERE article_id = 3"),
    (
        Kind.VECTOR,
        """UPDATE embeddings SET vector = (SELECT vector FROM embeddings WHERE article_id = 4)
           WHERE article_id = 3""",
    ),
    (Kind.VECTOR, "UPDATE embeddings SET vector = NULL WHERE article_id = 3"),
    (Kind.SURPLUS, "UPDATE articles SET no_rag = true WHERE id = 3"),
    (
        Kind.SURPLUS,
        """INSERT INTO embeddings (article_id, chunk_id, chunk_index, text_content)
           VALUES (3, 'x.md#9', 9, 'x')""",
    ),
    (Kind.STATE, f"UPDATE embedding_tasks SET attempts = 4 {ONE}"),
    (Kind.STATE, f"UPDATE embedding_tasks SET completed_at = NULL {ONE}"),
    (Kind.STATE, f"UPDATE embedding_tasks SET error_message = 'x' {ONE}"),
    (Kind.STATE, f"UPDATE embedding_tasks SET status = 'failed' {ONE}"),
    (Kind.STATE, f"UPDATE embedding_tasks SET processed_at = completed_at + interval '1 h' {ONE}"),
    (Kind.CHARGED, f"UPDATE embedding_tasks SET attempts = 2 {ONE}"),
    (Kind.HISTORY, f"UPDATE embedding_tasks SET status = 'pending' {ONE}"),
    (Kind.HISTORY, f"DELETE FROM embedding_audit_logs {ONE} AND message = 'Task claimed'"),
    (Kind.HISTORY, f"DELETE FROM embedding_audit_logs {ONE} AND message = 'Task completed'"),
    (
        Kind.HISTORY,
        f"UPDATE embedding_audit_logs SET metadata = '{{}}' {ONE} AND message = 'Task completed'",
    ),
    (
        Kind.HISTORY,
        f"""INSERT INTO embedding_audit_logs (level, category, message, task_id)
            SELECT level, category, message, task_id FROM embedding_audit_logs {ONE}""",
    ),
    (
        Kind.COUNTS,
        "SELECT embedq_fold_counts(); UPDATE embedq_counts SET n = n + 1 WHERE status = 'completed'",
    ),
    (Kind.COUNTS, "DELETE FROM embedq_count_deltas; DELETE FROM embedq_counts"),
    (Kind.COUNTS, "INSERT INTO embedq_count_deltas (fingerprint, delta) VALUES ('ffffffff', 1)"),
    (Kind.INTRUDER, "UPDATE embeddings SET text_content = text_content WHERE article_id = 3"),
    (Kind.INTRUDER, "DELETE FROM embeddings WHERE article_id = 3"),
    (
        Kind.INTRUDER,
        """INSERT INTO embedding_tasks (article_id, operation) VALUES (3, 'update');
           UPDATE embedding_tasks SET status = 'completed', completed_at = now(),
                  metadata = jsonb_build_object('coalesced_into', id) WHERE status = 'pending'""",
    ),
    (
        Kind.INTRUDER,
        """INSERT INTO embedding_tasks (article_id, operation) VALUES (3, 'update');
           UPDATE embedding_tasks SET status = 'processing', processed_at = now() WHERE status = 'pending';
           UPDATE embedding_tasks SET status = 'completed', completed_at = now()
           WHERE status = 'processing'""",
    ),
    (
        Kind.TWICE,
        """INSERT INTO embedding_tasks (article_id, operation) VALUES (3, 'update'), (3, 'update');
           UPDATE embedding_tasks SET status = 'processing', processed_at = now(), claimed_at = now(),
                  claim_token = 1, worker_id = gen_random_uuid() WHERE status = 'pending'""",
    ),
]


@pytest.fixture
async def run(database: Database, connection: Connection) -> Connection:
    """After a run: new articles, edits, a removal, an article of many chunks; as a worker may act on it."""
    await install_witness(connection)
    articles = await queued_articles(connection, 6)
    long = await add_articles(connection, ["word " * 1_200], slug="long")
    await queue_tasks(connection, long, priority="low")
    async with ProviderStub() as stub, bench(database, stub) as it:
        assert (await it.work(3))["stored"] == 3
        await connection.execute("UPDATE articles SET content = 'Other words.' WHERE id = $1", articles[0])
        await connection.execute("UPDATE articles SET no_rag = true WHERE id = $1", articles[1])
        for _ in range(2):
            await queue_tasks(connection, articles[:2], operation="update", priority="low")
        await it.work_off()
    assert await judge(connection, blameless=True) == []
    await connection.execute("SET application_name = 'embedq-worker'")
    return connection


@pytest.mark.pgvector
async def test_what_is_planted_is_found(run: Connection) -> None:
    missed = []
    for kind, planted in PLANTED:
        transaction = run.transaction()
        await transaction.start()
        await run.execute(planted)
        found = await judge(run, blameless=True)
        await transaction.rollback()
        if kind not in {finding.kind for finding in found}:
            missed.append((kind, planted, found))
        assert all(str(finding) for finding in found)
    assert missed == []
    assert {kind for kind, _ in PLANTED} == set(Kind)


async def test_what_others_do_to_tasks_is_theirs(run: Connection) -> None:
    await run.execute("SET application_name = 'psql'")
    for statement in (
        f"UPDATE embedding_tasks SET status = 'pending', processed_at = NULL {ONE}",
        "UPDATE embedding_tasks SET status = 'failed' WHERE status = 'pending'",
    ):
        await run.execute(statement)
        assert await judge(run, drained=False) == []
    assert {finding.kind for finding in await judge(run, drained=False)} == set()


# -- claims that are not what they say


FENCES = {
    "none": r"AND l\.worker_id = p_worker AND l\.claim_token = p\.token\s+"
    r"AND l\.claimed_at = p\.claimed_at AND l\.processed_at = p\.claimed_at",
    "no token and no time": r"AND l\.claim_token = p\.token\s+"
    r"AND l\.claimed_at = p\.claimed_at AND l\.processed_at = p\.claimed_at",
}
"""What is taken out of embedq_complete."""


@pytest.fixture
async def unfenced(
    database: Database, connection: Connection, request: pytest.FixtureRequest
) -> AsyncIterator[World]:
    """A queue whose completion was robbed of a part of its fence."""
    await install_witness(connection)
    async with open_world(database) as world:
        source = await connection.fetchval("SELECT pg_get_functiondef('witness_complete'::regproc)")
        weaker = await connection.fetchval("SELECT regexp_replace($1, $2, '')", source, FENCES[request.param])
        assert weaker != source
        await connection.execute(weaker)
        yield world


@pytest.mark.pgvector
@pytest.mark.parametrize("unfenced", FENCES, indirect=True)
async def test_a_ghost_that_writes_over_its_own_second_claim_is_found(unfenced: World) -> None:
    await unfenced.task(await unfenced.article())
    scope = await unfenced.worker()
    first = await unfenced.claim_one(scope)
    await unfenced.psql.execute("UPDATE embedding_tasks SET status = 'pending', processed_at = NULL")
    await unfenced.claim_one(scope)
    assert await unfenced.complete(scope, first) == ["stored"]
    found = await judge(unfenced.psql, drained=False)
    assert Kind.INTRUDER in {finding.kind for finding in found}


@pytest.mark.pgvector
@pytest.mark.parametrize("unfenced", ["none"], indirect=True)
async def test_a_ghost_that_writes_over_the_claim_of_another_is_found(unfenced: World) -> None:
    await unfenced.task(await unfenced.article())
    ghost, heir = await unfenced.worker(), await unfenced.worker()
    lost = await unfenced.claim_one(ghost)
    await unfenced.die(ghost)
    await unfenced.rescue()
    await unfenced.claim_one(heir)
    assert await unfenced.complete(ghost, lost) == ["stored"]
    found = await judge(unfenced.psql, drained=False)
    assert Kind.INTRUDER in {finding.kind for finding in found}


async def test_a_ghost_that_is_refused_leaves_nothing_to_be_found(
    database: Database, connection: Connection
) -> None:
    await install_witness(connection)
    async with open_world(database) as world:
        await world.task(await world.article())
        ghost, heir = await world.worker(), await world.worker()
        lost = await world.claim_one(ghost)
        await world.die(ghost)
        await world.rescue()
        task = await world.claim_one(heir)
        assert await world.complete(ghost, lost) == ["lost"]
        assert await world.complete(heir, task) == ["stored"]
        assert await judge(world.psql, drained=False) == []


async def test_vectors_of_the_local_model(database: Database, connection: Connection) -> None:
    await store_as_json(connection)
    chance = random.Random(3)
    words = ["queue", "worker", "vector", "article", "claim", "token", "heart", "beat"]
    articles = await add_articles(
        connection, [" ".join(chance.choices(words, k=chance.randint(5, 900))) for _ in range(8)]
    )
    await queue_tasks(connection, articles)
    variables = environment(
        database, EMBEDDING_PROVIDER="local", EMBEDDING_MODEL=None, EMBEDDING_DIMENSIONS=None
    )
    code, worker = await run_worker_process(variables, "--drain", "--batch-size", "3")
    assert code == 0, worker.text
    assert await judge(connection, LocalEmbedding(), blameless=True) == []
    await connection.execute(
        "UPDATE embeddings SET vector_data = jsonb_set(vector_data, '{0}', '0.5') WHERE article_id = 1"
    )
    assert [finding.kind for finding in await judge(connection, LocalEmbedding())] == [Kind.VECTOR]
