-- Vacuum and analyze the queue table after a fixed number of changes. By default the threshold is a share of the table:
-- with 10,000,000 finished tasks, two million dead tuples, at the beginning of every index that claims read. A table
-- that already has autovacuum settings is left alone.
--
-- The lock, SHARE UPDATE EXCLUSIVE, blocks no reader or writer. It is taken first, so that no other lock is held while it
-- waits for a running vacuum.

SELECT set_config('embedq.sets_autovacuum', (NOT EXISTS (
    SELECT FROM pg_class c, unnest(c.reloptions) AS o(option)
    WHERE c.oid = 'embedding_tasks'::regclass AND o.option LIKE E'autovacuum\\_%'))::text, true);

DO $$
BEGIN
    IF current_setting('embedq.sets_autovacuum')::boolean THEN
        ALTER TABLE embedding_tasks SET (
            autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
            autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000);
    END IF;
END
$$;

ALTER TABLE embedq_control
    ADD COLUMN autovacuum_set text[];     -- options set here, for the rollback; null if none

UPDATE embedq_control SET autovacuum_set = (SELECT reloptions FROM pg_class WHERE oid = 'embedding_tasks'::regclass)
WHERE current_setting('embedq.sets_autovacuum')::boolean;
