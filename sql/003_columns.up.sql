-- Our columns: nullable and without default, so that no row is rewritten and other programs need not know them. They are
-- there already, with their comment, if the operator restored only these tables from a dump.

ALTER TABLE embedding_tasks
    ADD COLUMN IF NOT EXISTS claim_token bigint,      -- fencing token, with worker_id and claimed_at; rises per claim
    ADD COLUMN IF NOT EXISTS worker_id uuid,          -- the worker that holds, or last held, the claim
    ADD COLUMN IF NOT EXISTS claimed_at timestamptz,  -- equals processed_at while the claim is ours, and only then
    ADD COLUMN IF NOT EXISTS crash_count smallint;    -- claims that ended with the death of their worker

ALTER TABLE embeddings
    ADD COLUMN IF NOT EXISTS model varchar(255);      -- provider/model of the vector; null for another program's

COMMENT ON COLUMN embedding_tasks.claim_token IS 'made by embedq 003';
COMMENT ON COLUMN embedding_tasks.worker_id IS 'made by embedq 003';
COMMENT ON COLUMN embedding_tasks.claimed_at IS 'made by embedq 003';
COMMENT ON COLUMN embedding_tasks.crash_count IS 'made by embedq 003';
COMMENT ON COLUMN embeddings.model IS 'made by embedq 003';

-- A subscriber that lacks a column (or, if all tables are published, a table) stops at the first change it receives.
DO $$
DECLARE
    v_names text;
BEGIN
    SELECT string_agg(DISTINCT p.pubname, ', ') INTO v_names
    FROM pg_publication_tables p
    JOIN pg_namespace n ON n.nspname = p.schemaname
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
    WHERE c.oid IN ('embedding_tasks'::regclass, 'embeddings'::regclass);
    IF v_names IS NOT NULL THEN
        RAISE WARNING 'the publication % includes the queue or the embeddings: its subscribers stop until they are migrated too', v_names
            USING HINT = 'Run embedq-tui --migrate on their databases; they then resume by themselves.';
    END IF;
END
$$;
