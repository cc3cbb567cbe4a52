-- Three group roles with the least rights: to look, to operate, to work. Nobody logs in as one; give them to
-- those who do: GRANT embedq_operator TO alice. Run as the owner of the tables, after every migration: what is
-- new needs its grants too. Roles belong to the whole server, rights to this database.
--
--   embedq_viewer    reads everything, changes nothing
--   embedq_operator  acts on tasks and workers besides: retry, cancel, reset, stop, backfill
--   embedq_worker    claims, embeds, stores, retains
--
-- Migrations, triggers on the articles and imports stay with the owner.

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['embedq_viewer', 'embedq_operator', 'embedq_worker'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- by somebody else at this moment
        END;
    END LOOP;
END
$$;

-- Where our tables are, those of the other program, and the type of the vectors.
DO $$
DECLARE
    place regnamespace;
    role text;
BEGIN
    FOR place, role IN
        SELECT DISTINCT s.place, r.role
        FROM (SELECT current_schema()::regnamespace AS place
              UNION ALL
              SELECT c.relnamespace FROM pg_class c
              WHERE c.oid IN ('articles'::regclass, 'embeddings'::regclass, 'embedding_tasks'::regclass)
              UNION ALL
              SELECT extnamespace FROM pg_extension WHERE extname = 'vector') AS s,
             unnest(ARRAY['embedq_viewer', 'embedq_operator', 'embedq_worker']) AS r(role)
        WHERE NOT has_schema_privilege(r.role, s.place, 'USAGE')
    LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', place, role);
    END LOOP;
END
$$;

-- -- to look

DO $$
DECLARE
    found regclass;
BEGIN
    FOR found IN
        SELECT oid::regclass FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v') AND relname LIKE E'embedq\\_%'
    LOOP
        EXECUTE format('GRANT SELECT ON %s TO embedq_viewer, embedq_operator, embedq_worker', found);
    END LOOP;
END
$$;

GRANT SELECT ON articles, embeddings, embedding_tasks, embedding_worker_status, embedding_audit_logs, performance_metrics
    TO embedq_viewer, embedq_operator, embedq_worker;

-- -- to operate

GRANT INSERT, UPDATE, DELETE ON embedding_tasks TO embedq_operator;
GRANT INSERT, UPDATE ON embedding_worker_status, embedq_bulk_operations TO embedq_operator;
GRANT UPDATE ON embedq_workers, embedq_control TO embedq_operator;
GRANT UPDATE (failures, retry_at) ON embedq_providers TO embedq_operator;
GRANT INSERT ON embedding_audit_logs TO embedq_operator;

-- -- to work

GRANT INSERT, UPDATE, DELETE ON embeddings, embedding_tasks, embedq_workers, embedq_articles TO embedq_worker;
GRANT INSERT, UPDATE, DELETE ON embedding_audit_logs, performance_metrics TO embedq_worker;
GRANT INSERT, UPDATE ON embedding_worker_status, embedq_providers TO embedq_worker;
GRANT UPDATE ON embedq_control TO embedq_worker;

-- To lock a row, while its vectors are stored or its task is queued, some column has to be writable; none is written.
GRANT UPDATE (updated_at) ON articles TO embedq_operator, embedq_worker;

DO $$
DECLARE
    numbers text := pg_get_serial_sequence('embeddings', 'id');
BEGIN
    IF numbers IS NOT NULL THEN
        EXECUTE format('GRANT USAGE ON SEQUENCE %s TO embedq_worker', numbers);
    END IF;
END
$$;

-- Where functions are not PUBLIC by default; those that write do it with the rights of whoever calls them.
DO $$
DECLARE
    found regprocedure;
BEGIN
    FOR found IN
        SELECT oid::regprocedure FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace AND proname LIKE E'embedq\\_%'
          AND prorettype <> 'trigger'::regtype
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO embedq_viewer, embedq_operator, embedq_worker', found);
    END LOOP;
END
$$;
