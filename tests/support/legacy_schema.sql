-- The six public tables as an article application of its own makes them, with what it had in them.

CREATE TABLE articles (
    id serial PRIMARY KEY,
    title varchar(500) NOT NULL,
    slug varchar(255) UNIQUE NOT NULL,
    content text NOT NULL,
    folder varchar(500) DEFAULT '',
    is_public boolean DEFAULT false,
    no_rag boolean DEFAULT false,
    created_at timestamptz DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz DEFAULT CURRENT_TIMESTAMP,
    created_by varchar(255),
    updated_by varchar(255)
);
CREATE INDEX idx_articles_folder ON articles (folder);

CREATE TABLE embeddings (
    id serial PRIMARY KEY,
    article_id integer NOT NULL REFERENCES articles (id) ON DELETE CASCADE,
    chunk_id varchar(255) NOT NULL,
    chunk_index integer NOT NULL,
    heading_path text[],
    text_content text NOT NULL,
    content_hash varchar(64) NOT NULL,
    vector_data jsonb,
    created_at timestamptz DEFAULT CURRENT_TIMESTAMP,
    UNIQUE (article_id, chunk_index)
);

CREATE TABLE embedding_tasks (
    id uuid PRIMARY KEY,
    article_id integer REFERENCES articles (id) ON DELETE CASCADE,
    slug varchar(255),
    operation varchar(50) NOT NULL,
    priority varchar(20) NOT NULL DEFAULT 'normal',
    status varchar(50) NOT NULL DEFAULT 'pending',
    attempts integer DEFAULT 0,
    max_attempts integer DEFAULT 3,
    created_at timestamptz DEFAULT CURRENT_TIMESTAMP,
    scheduled_at timestamptz DEFAULT CURRENT_TIMESTAMP,
    processed_at timestamptz,
    completed_at timestamptz,
    error_message text,
    metadata jsonb,
    CONSTRAINT embedding_tasks_operation_check CHECK (operation IN ('create', 'update', 'delete')),
    CONSTRAINT embedding_tasks_priority_check CHECK (priority IN ('high', 'normal', 'low')),
    CONSTRAINT embedding_tasks_status_check CHECK (status IN ('pending', 'processing', 'completed', 'failed'))
);
CREATE INDEX idx_embedding_tasks_status ON embedding_tasks (status);
CREATE INDEX idx_embedding_tasks_queue ON embedding_tasks (status, priority, scheduled_at);

CREATE TABLE embedding_worker_status (
    id integer PRIMARY KEY DEFAULT 1,
    is_running boolean DEFAULT false,
    last_heartbeat timestamptz,
    tasks_processed integer DEFAULT 0,
    tasks_succeeded integer DEFAULT 0,
    tasks_failed integer DEFAULT 0,
    started_at timestamptz,
    CONSTRAINT single_row CHECK (id = 1)
);

CREATE TABLE embedding_audit_logs (
    id uuid PRIMARY KEY,
    timestamp timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    level varchar(10) NOT NULL CHECK (level IN ('debug', 'info', 'warn', 'error')),
    category varchar(50) NOT NULL CHECK (category IN ('task_lifecycle', 'worker_status', 'queue_operations',
                                                      'performance', 'error_handling', 'bulk_operations')),
    message text NOT NULL,
    task_id uuid,
    article_id integer,
    operation_id varchar(255),
    metadata jsonb,
    duration numeric,
    error text,
    stack_trace text
);
CREATE INDEX idx_audit_logs_timestamp ON embedding_audit_logs (timestamp DESC);

CREATE TABLE performance_metrics (
    id uuid PRIMARY KEY,
    timestamp timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    metric_type varchar(50) NOT NULL,
    value numeric NOT NULL,
    unit varchar(20) NOT NULL,
    task_id uuid,
    article_id integer,
    operation_id varchar(255),
    metadata jsonb
);

INSERT INTO articles (title, slug, content, folder, is_public, no_rag, created_by)
SELECT 'Article ' || n, 'article-' || n, E'# Article\n\nText of ' || n || E'.\n', (ARRAY['', 'ops', 'ops/db'])[1 + n % 3],
       n % 2 = 0, n % 10 = 0, 'somebody'
FROM generate_series(1, 50) AS n;

-- Of two chunks each; those of article 7 are lost, those of article 8 stale.
INSERT INTO embeddings (article_id, chunk_id, chunk_index, heading_path, text_content, content_hash, vector_data)
SELECT a.id, a.slug || '.md#' || i, i, ARRAY['Article'], CASE a.id WHEN 8 THEN 'an older text' ELSE a.content END,
       md5(a.content), (SELECT jsonb_agg(round(sin(a.id * 31 + i * 7 + d)::numeric, 4)) FROM generate_series(1, 8) AS d)
FROM articles a CROSS JOIN generate_series(0, 1) AS i
WHERE a.id <= 30 AND a.id <> 7;

-- 200 tasks: failed ones with more attempts than allowed, completed ones without vectors, one stuck since yesterday.
INSERT INTO embedding_tasks (id, article_id, slug, operation, priority, status, attempts, max_attempts, created_at,
                             scheduled_at, processed_at, completed_at, error_message, metadata)
SELECT md5('task ' || n)::uuid, 1 + n % 50, 'article-' || (1 + n % 50), (ARRAY['create', 'update', 'delete'])[1 + n / 90],
       (ARRAY['high', 'normal', 'low'])[1 + n % 3], s.status, CASE s.status WHEN 'failed' THEN 4 ELSE n % 3 END, 3,
       now() - n * interval '1 minute', now() - n * interval '1 minute' + (n % 5) * interval '10 minutes',
       CASE WHEN s.status <> 'pending' THEN now() - n * interval '10 minutes' END,
       CASE WHEN s.status IN ('completed', 'failed') THEN now() - n * interval '9 minutes' END,
       CASE s.status WHEN 'failed' THEN 'connect ECONNREFUSED 127.0.0.1:' || (11400 + n % 4) END,
       CASE WHEN n % 4 = 0 THEN jsonb_build_object('bulkOperationId', 'bulk-' || n % 3, 'title', 'Artikel ' || n) END
FROM generate_series(1, 200) AS n
CROSS JOIN LATERAL (SELECT (ARRAY['pending', 'processing', 'completed', 'failed'])[1 + n % 4] AS status) AS s;

INSERT INTO embedding_worker_status (id, is_running, last_heartbeat, tasks_processed, tasks_succeeded, tasks_failed, started_at)
VALUES (1, true, now() - interval '1 day', 100, 50, 50, now() - interval '9 days');

INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, task_id, article_id, duration, error)
SELECT md5('audit ' || n)::uuid, now() - n * interval '1 minute', (ARRAY['debug', 'info', 'warn', 'error'])[1 + n % 4],
       'task_lifecycle', 'Task event ' || n, md5('task ' || n)::uuid, 1 + n % 50, n * 1.5, CASE n % 4 WHEN 3 THEN 'refused' END
FROM generate_series(1, 200) AS n;

INSERT INTO performance_metrics (id, timestamp, metric_type, value, unit, task_id)
SELECT md5('metric ' || n)::uuid, now() - n * interval '1 minute', 'task_processing_time', n * 10.25, 'ms',
       md5('task ' || n)::uuid
FROM generate_series(1, 200) AS n;
