DROP FUNCTION IF EXISTS embedq_claim(uuid, text, text, int, text[], text[], timestamptz[], uuid[], boolean);
DROP FUNCTION IF EXISTS embedq_kept_hashes(int, text);
DROP FUNCTION IF EXISTS embedq_in_folders(int, text[]);
DROP FUNCTION IF EXISTS embedq_provider_held(text);

-- What our workers hold: no statement is left with which they could complete or return it.
DO $$
BEGIN
    UPDATE embedding_tasks SET status = 'pending', processed_at = NULL
    WHERE status = 'processing' AND claimed_at = processed_at;
EXCEPTION WHEN undefined_table OR undefined_column THEN
    NULL;
END
$$;
