-- When the queue table is vacuumed and analyzed: after so many changes, whatever is in it. By default a share of the
-- table counts, and beside 10,000,000 finished tasks that is two million dead rows, at the head of every index that
-- claims read. Who set anything of the kind before has the last word.
--
-- SHARE UPDATE EXCLUSIVE: no reader or writer waits for it, nor behind it. It comes first, so that nothing is held
-- while it waits for a vacuum that runs.

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
    ADD COLUMN autovacuum_set text[];     -- what was set here, for the way back; null: nothing

UPDATE embedq_control SET autovacuum_set = (SELECT reloptions FROM pg_class WHERE oid = 'embedding_tasks'::regclass)
WHERE current_setting('embedq.sets_autovacuum')::boolean;
