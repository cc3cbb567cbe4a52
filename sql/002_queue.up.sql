-- The queue tables, created only if absent from every schema of the search path: in its first schema, they would hide
-- those of another program in a later one.

DO $$
BEGIN
    IF to_regprocedure('gen_random_uuid()') IS NULL THEN
        CREATE EXTENSION IF NOT EXISTS pgcrypto;  -- PostgreSQL 12 has no gen_random_uuid() of its own
    END IF;
EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported THEN
    RAISE EXCEPTION 'PostgreSQL 12 requires the extension pgcrypto, which this role cannot create: %', SQLERRM
        USING HINT = 'Have a superuser run CREATE EXTENSION pgcrypto in this database, then migrate again.';
END
$$;

DO $$
BEGIN
    IF to_regclass('embedding_tasks') IS NULL THEN
        CREATE TABLE embedding_tasks (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            article_id int REFERENCES articles (id) ON DELETE CASCADE,
            slug varchar(255),
            operation varchar(20) NOT NULL CHECK (operation IN ('create', 'update', 'delete')),
            priority varchar(10) NOT NULL DEFAULT 'normal' CHECK (priority IN ('high', 'normal', 'low')),
            status varchar(20) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'completed', 'failed')),
            attempts int NOT NULL DEFAULT 0,
            max_attempts int NOT NULL DEFAULT 3,
            created_at timestamptz NOT NULL DEFAULT now(),
            scheduled_at timestamptz NOT NULL DEFAULT now(),
            processed_at timestamptz,
            completed_at timestamptz,
            error_message text,
            metadata jsonb
        );
    END IF;

    IF to_regclass('embedding_worker_status') IS NULL THEN
        CREATE TABLE embedding_worker_status (
            id int PRIMARY KEY DEFAULT 1 CHECK (id = 1),
            is_running boolean NOT NULL DEFAULT false,
            last_heartbeat timestamptz,
            tasks_processed int NOT NULL DEFAULT 0,
            tasks_succeeded int NOT NULL DEFAULT 0,
            tasks_failed int NOT NULL DEFAULT 0,
            started_at timestamptz
        );
    END IF;

    IF to_regclass('embedding_audit_logs') IS NULL THEN
        CREATE TABLE embedding_audit_logs (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            timestamp timestamptz NOT NULL DEFAULT now(),
            -- = ANY is read faster than IN, which each statement that inserts a row does anew.
            level varchar(10) NOT NULL CHECK (level = ANY ('{debug,info,warn,error}'::text[])),
            category varchar(50) NOT NULL CHECK (category = ANY (
                '{task_lifecycle,worker_status,queue_operations,performance,error_handling,bulk_operations}'::text[])),
            message text NOT NULL,
            task_id uuid,
            article_id int,
            operation_id varchar(255),
            metadata jsonb,
            duration numeric,
            error text,
            stack_trace text
        );
    END IF;

    IF to_regclass('performance_metrics') IS NULL THEN
        CREATE TABLE performance_metrics (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            timestamp timestamptz NOT NULL DEFAULT now(),
            metric_type varchar(50) NOT NULL,
            value numeric NOT NULL,
            unit varchar(20),
            task_id uuid,
            article_id int,
            operation_id varchar(255),
            metadata jsonb
        );
    END IF;
END
$$;
