"""Triggers and a wrapper, for tests only, that record every change of a task and who requested it.

``witness_moves``     each change of status, claim or existence of a task, with the claim before and after
``witness_writes``    each task that a worker asked to complete or give back, and the claim it said to hold
``witness_vectors``   each change of embeddings
"""

from __future__ import annotations

from tests.support.databases import Connection

_TABLES = """
CREATE TABLE witness_moves (
    place bigserial PRIMARY KEY,          -- drawn while the row is locked: in order for each task
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    txid bigint NOT NULL DEFAULT txid_current(),
    application text NOT NULL DEFAULT current_setting('application_name'),
    task_id uuid NOT NULL, article_id int,
    was text, now text,                   -- null: it did not exist
    worker_was uuid, token_was bigint, claimed_was timestamptz, processed_was timestamptz,
    worker uuid, token bigint, claimed_at timestamptz, processed_at timestamptz, coalesced_into text);
CREATE TABLE witness_writes (
    txid bigint NOT NULL DEFAULT txid_current(),
    worker uuid NOT NULL, task_id uuid NOT NULL, token bigint NOT NULL, claimed_at timestamptz NOT NULL,
    article_id int, outcome text NOT NULL);
CREATE TABLE witness_vectors (
    txid bigint NOT NULL DEFAULT txid_current(),
    application text NOT NULL DEFAULT current_setting('application_name'),
    article_id int NOT NULL);
"""

_MOVES = """
CREATE FUNCTION witness_move() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO witness_moves (
        task_id, article_id, was, now, worker_was, token_was, claimed_was, processed_was,
        worker, token, claimed_at, processed_at, coalesced_into)
    VALUES (coalesce(NEW.id, OLD.id), coalesce(NEW.article_id, OLD.article_id), OLD.status, NEW.status,
            OLD.worker_id, OLD.claim_token, OLD.claimed_at, OLD.processed_at,
            NEW.worker_id, NEW.claim_token, NEW.claimed_at, NEW.processed_at,
            NEW.metadata ->> 'coalesced_into');
    RETURN NULL;
END
$$;
CREATE TRIGGER witness_made AFTER INSERT OR DELETE ON embedding_tasks
    FOR EACH ROW EXECUTE FUNCTION witness_move();
CREATE TRIGGER witness_moved AFTER UPDATE ON embedding_tasks FOR EACH ROW
    WHEN ((OLD.status, OLD.worker_id, OLD.claim_token, OLD.claimed_at, OLD.processed_at)
          IS DISTINCT FROM (NEW.status, NEW.worker_id, NEW.claim_token, NEW.claimed_at, NEW.processed_at))
    EXECUTE FUNCTION witness_move();

CREATE FUNCTION witness_vector() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO witness_vectors (article_id) VALUES (coalesce(NEW.article_id, OLD.article_id));
    RETURN NULL;
END
$$;
CREATE TRIGGER witness_vector AFTER INSERT OR UPDATE OR DELETE ON embeddings
    FOR EACH ROW EXECUTE FUNCTION witness_vector();
"""

_WRITES = """
ALTER FUNCTION embedq_complete(
    uuid, text, uuid[], bigint[], timestamptz[], int[], text[], text[], int[], text[],
    int[], int[], text[], text[], text[], text[], anyarray) RENAME TO witness_complete;
CREATE FUNCTION embedq_complete(
    p_worker uuid, p_model text,
    p_task uuid[], p_token bigint[], p_claimed_at timestamptz[], p_article int[],
    p_kind text[], p_source text[], p_chunks int[], p_note text[],
    c_article int[], c_index int[], c_chunk_id text[], c_heading text[], c_text text[], c_hash text[],
    c_vector anyarray)
RETURNS TABLE (task_id uuid, outcome text)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH done AS MATERIALIZED (
        SELECT * FROM witness_complete(
            p_worker, p_model, p_task, p_token, p_claimed_at, p_article, p_kind, p_source, p_chunks, p_note,
            c_article, c_index, c_chunk_id, c_heading, c_text, c_hash, c_vector)
    ), noted AS (
        INSERT INTO witness_writes (worker, task_id, token, claimed_at, article_id, outcome)
        SELECT p_worker, a.id, a.token, a.claimed_at, a.article, d.outcome
        FROM unnest(p_task, p_token, p_claimed_at, p_article) AS a(id, token, claimed_at, article)
        JOIN done d ON d.task_id = a.id
    )
    SELECT d.task_id, d.outcome FROM done d;
END
$$;

ALTER FUNCTION embedq_return(uuid, uuid[], bigint[], timestamptz[], text[], text[], text[], bigint[], text[])
    RENAME TO witness_return;
CREATE FUNCTION embedq_return(
    p_worker uuid, p_task uuid[], p_token bigint[], p_claimed_at timestamptz[],
    p_kind text[], p_error text[], p_detail text[], p_delay_ms bigint[], p_source text[])
RETURNS TABLE (task_id uuid, outcome text)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH done AS MATERIALIZED (
        SELECT * FROM witness_return(
            p_worker, p_task, p_token, p_claimed_at, p_kind, p_error, p_detail, p_delay_ms, p_source)
    ), noted AS (
        INSERT INTO witness_writes (worker, task_id, token, claimed_at, outcome)
        SELECT p_worker, a.id, a.token, a.claimed_at, d.outcome
        FROM unnest(p_task, p_token, p_claimed_at) AS a(id, token, claimed_at) JOIN done d ON d.task_id = a.id
    )
    SELECT d.task_id, d.outcome FROM done d;
END
$$;
"""


async def install_witness(connection: Connection) -> None:
    """Record from now on what happens to tasks and embeddings.

    Args:
        connection: To the migrated database, as its owner.
    """
    async with connection.transaction():
        await connection.execute(_TABLES + _MOVES + _WRITES)


async def has_witness(connection: Connection) -> bool:
    """Whether this database records it."""
    found: bool = await connection.fetchval("SELECT to_regclass('witness_moves') IS NOT NULL")
    return found
