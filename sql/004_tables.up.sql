-- Our tables. There is no foreign key from or to embedding_tasks, because validating one would scan that table.

CREATE TABLE embedq_workers (
    id uuid PRIMARY KEY,
    host text NOT NULL,
    pid int NOT NULL,
    host_key text NOT NULL,               -- equal for processes that can look up each other's pid (boot, pid namespace)
    version text NOT NULL,
    provider text NOT NULL,               -- key of embedq_providers
    settings jsonb NOT NULL DEFAULT '{}',
    state text NOT NULL CHECK (state IN ('running', 'stopping', 'stopped', 'dead')),
    note text NOT NULL DEFAULT '',        -- why it is idle
    in_hand int NOT NULL DEFAULT 0,
    processed bigint NOT NULL DEFAULT 0,
    succeeded bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    stop_requested text CHECK (stop_requested IN ('graceful', 'force')),
    concurrency_wanted int,               -- ordered by an operator; null: as started
    paused_at timestamptz,                -- an operator's pause of this worker alone
    paused_by text,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    stopped_at timestamptz
);

CREATE TABLE embedq_control (
    id int PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    stopped_at timestamptz,               -- an operator's stop, which a new worker does not lift
    stopped_by text,
    paused_at timestamptz,
    paused_by text,
    foreign_beat_at timestamptz           -- when another program's worker last beat in the status row; null once it has ended
);
INSERT INTO embedq_control DEFAULT VALUES;

CREATE TABLE embedq_providers (
    key text PRIMARY KEY,                 -- model and endpoint
    state text NOT NULL CHECK (state IN ('closed', 'cooling', 'open')),
    kind text NOT NULL DEFAULT '',        -- unavailable, rate_limited, misconfigured
    reason text NOT NULL DEFAULT '',
    advice text NOT NULL DEFAULT '',
    failures int NOT NULL DEFAULT 0,      -- consecutive
    opened_at timestamptz,
    retry_at timestamptz,
    probing_since timestamptz,            -- of the last probe; under way if retry_at, the end of its lease, is to come
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- No foreign key, or PostgreSQL would refuse another program's TRUNCATE of its own tables. 008 deletes a row with its
-- article.
CREATE TABLE embedq_articles (
    article_id int PRIMARY KEY,
    source text NOT NULL,                 -- embedq_source() of the text that the stored vectors were computed from
    model text NOT NULL,
    chunks int NOT NULL,
    embedded_at timestamptz NOT NULL
);

CREATE TABLE embedq_counts (
    status text NOT NULL,
    priority text NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (status, priority)
);

-- Changes in the number of tasks by status and priority. Failed tasks are also counted by the fingerprint of their
-- error. A correction may concern only one of the two counts; then status or fingerprint is null.
CREATE TABLE embedq_count_deltas (
    status text,
    priority text,
    delta bigint NOT NULL,
    fingerprint text
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);  -- emptied frequently
-- It has no key; without this, its rows could not be deleted if all tables are published (logical replication).
ALTER TABLE embedq_count_deltas REPLICA IDENTITY FULL;

CREATE VIEW embedq_live_counts AS
    SELECT status, priority, sum(n)::bigint AS n
    FROM (
        SELECT status, priority, n FROM embedq_counts
        UNION ALL
        SELECT status, priority, delta FROM embedq_count_deltas WHERE status IS NOT NULL
    ) AS parts
    GROUP BY status, priority;
