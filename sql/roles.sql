-- Three group roles with the least privileges: to view, to operate, to work. They cannot log in; grant them to roles that
-- can: GRANT embedq_operator TO alice. Run this as the owner of the tables, and again after every migration, because new
-- objects need grants too. Roles belong to the whole server, privileges to this database.
--
--   embedq_viewer    reads everything, changes nothing
--   embedq_operator  also acts on tasks and workers: retry, cancel, reset, stop, backfill
--   embedq_worker    claims, embeds, stores, deletes what is past the retention
--
-- Migrations, the trigger on articles and imports remain with the owner. insights/rights.py looks for what a role lacks.

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
            NULL;  -- created concurrently by another session
        END;
    END LOOP;
END
$$;

-- The schemas of our tables, of the article application's tables, and of pgvector.
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

-- -- viewer

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

-- -- operator

GRANT INSERT, UPDATE, DELETE ON embedding_tasks TO embedq_operator;
GRANT INSERT, UPDATE ON embedding_worker_status, embedq_control, embedq_bulk_operations TO embedq_operator;
GRANT UPDATE ON embedq_workers TO embedq_operator;
GRANT UPDATE (failures, retry_at) ON embedq_providers TO embedq_operator;
GRANT INSERT ON embedding_audit_logs TO embedq_operator;

-- -- worker

GRANT INSERT, UPDATE, DELETE ON embeddings, embedding_tasks, embedq_workers, embedq_articles TO embedq_worker;
GRANT INSERT, UPDATE, DELETE ON embedding_audit_logs, performance_metrics TO embedq_worker;
GRANT INSERT, UPDATE ON embedding_worker_status, embedq_control, embedq_providers TO embedq_worker;

-- A row lock requires UPDATE on some column: articles are locked while vectors are stored or tasks queued, not written.
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

-- Functions may not be executable by PUBLIC by default. Those that write do so with the privileges of their caller.
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
