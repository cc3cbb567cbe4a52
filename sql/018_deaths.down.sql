DO $$
BEGIN
    IF to_regclass('embedq_workers') IS NOT NULL THEN
        DROP TRIGGER IF EXISTS embedq_worker_died ON embedq_workers;
    END IF;
END
$$;
DROP FUNCTION IF EXISTS embedq_worker_died();
DROP INDEX IF EXISTS embedq_workers_state_idx;
