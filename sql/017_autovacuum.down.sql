-- Resets the options that 017 set, unless an operator has changed them since.
DO $$
DECLARE
    v_option text;
BEGIN
    IF to_regclass('embedq_control') IS NOT NULL THEN
        FOR v_option IN
            SELECT split_part(o.option, '=', 1)
            FROM pg_class c, unnest(c.reloptions) AS o(option), embedq_control k
            WHERE c.oid = to_regclass('embedding_tasks') AND o.option LIKE E'autovacuum\\_%'
              AND to_jsonb(k) -> 'autovacuum_set' ? o.option
        LOOP
            EXECUTE format('ALTER TABLE embedding_tasks RESET (%I)', v_option);
        END LOOP;
    END IF;
END
$$;
ALTER TABLE IF EXISTS embedq_control DROP COLUMN IF EXISTS autovacuum_set;
