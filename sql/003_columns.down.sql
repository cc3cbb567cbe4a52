ALTER TABLE IF EXISTS embeddings DROP COLUMN IF EXISTS model;

ALTER TABLE IF EXISTS embedding_tasks
    DROP COLUMN IF EXISTS claim_token,
    DROP COLUMN IF EXISTS worker_id,
    DROP COLUMN IF EXISTS claimed_at,
    DROP COLUMN IF EXISTS crash_count;
