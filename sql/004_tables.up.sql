-- Tables of ours. None has a foreign key from or to embedding_tasks: checking one would scan it at start.

CREATE TABLE embedq_workers (
    id uuid PRIMARY KEY,
    host text NOT NULL,
    pid int NOT NULL,
    host_key text NOT NULL,               -- tells whether a pid can be looked up from here (boot and pid namespace)
    version text NOT NULL,
    provider text NOT NULL,               -- key of embedq_providers
    settings jsonb NOT NULL DEFAULT '{}',
    state text NOT NULL CHECK (state IN ('running', 'stopping', 'stopped', 'dead')),
    note text NOT NULL DEFAULT '',        -- why it is idle, what it waits for
    in_hand int NOT NULL DEFAULT 0,
    processed bigint NOT NULL DEFAULT 0,
    succeeded bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    stop_requested text CHECK (stop_requested IN ('graceful', 'force')),
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    stopped_at timestamptz
);

CREATE TABLE embedq_control (
    id int PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    stopped_at timestamptz,               -- the operator's stop; a new worker does not lift it
    stopped_by text,
    paused_at timestamptz,
    paused_by text
);
INSERT INTO embedq_control DEFAULT VALUES;

CREATE TABLE embedq_providers (
    key text PRIMARY KEY,                 -- model and endpoint
    state text NOT NULL CHECK (state IN ('closed', 'cooling', 'open')),
    kind text NOT NULL DEFAULT '',        -- unavailable, rate_limited, misconfigured
    reason text NOT NULL DEFAULT '',
    advice text NOT NULL DEFAULT '',
    failures int NOT NULL DEFAULT 0,      -- in a row
    opened_at timestamptz,
    retry_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE embedq_articles (
    article_id int PRIMARY KEY REFERENCES articles (id) ON DELETE CASCADE,
    source text NOT NULL,                 -- embedq_source() of what the stored vectors were made from
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

-- How many tasks of a status and priority came or went; of failed ones with the fingerprint of their error, which are
-- counted by it as well. A correction may be of one of the two: without status, or without fingerprint.
CREATE TABLE embedq_count_deltas (
    status text,
    priority text,
    delta bigint NOT NULL,
    fingerprint text
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);  -- emptied again and again
-- It has no key. Where all tables are published (logical replication), nothing could be deleted from it without this.
ALTER TABLE embedq_count_deltas REPLICA IDENTITY FULL;

CREATE VIEW embedq_live_counts AS
    SELECT status, priority, sum(n)::bigint AS n
    FROM (
        SELECT status, priority, n FROM embedq_counts
        UNION ALL
        SELECT status, priority, delta FROM embedq_count_deltas WHERE status IS NOT NULL
    ) AS parts
    GROUP BY status, priority;
