-- Columns of ours: nullable and without default, so that no row is rewritten and no other program has to know them.

ALTER TABLE embedding_tasks
    ADD COLUMN claim_token bigint,        -- rises with each claim of ours: with worker_id and claimed_at it is the fence
    ADD COLUMN worker_id uuid,            -- who holds, or last held, the claim
    ADD COLUMN claimed_at timestamptz,    -- equals processed_at while the claim is ours, and only then
    ADD COLUMN crash_count smallint;      -- claims that ended with their worker's death

ALTER TABLE embeddings
    ADD COLUMN model varchar(255);        -- provider/model of the vector; null: another program's
