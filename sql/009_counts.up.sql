-- Exact counts and notifications, whichever program writes: statement triggers insert signed deltas, so that writers
-- never contend for a row. SECURITY DEFINER because the article application's role has no privileges on our tables.
--
-- A notification is sent at most once per transaction (PostgreSQL drops equal ones), and only by one of the transactions
-- that commit at the same moment, because NOTIFY takes a global lock at commit. A deferred trigger decides that just before
-- the commit; listeners look again 50 ms after each notification and so see the other commits. New work is told on the
-- channel of the workers, to which consoles listen as well. Our own functions set embedq.quiet; workers announce their
-- changes themselves, at most ten times a second.

-- SECURITY DEFINER functions must search pg_temp last, because any role can create tables there.
SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), 'pg_temp'), true);

-- Counts of failed tasks by the fingerprint of their error.
CREATE TABLE embedq_failure_counts (
    fingerprint text PRIMARY KEY,
    n bigint NOT NULL
);

-- the largest groups; the empty ones
CREATE INDEX embedq_failure_counts_n_idx ON embedq_failure_counts (n, fingerprint);

CREATE VIEW embedq_live_failures AS
    SELECT fingerprint, sum(n)::bigint AS n
    FROM (
        SELECT fingerprint, n FROM embedq_failure_counts
        UNION ALL
        SELECT fingerprint, delta FROM embedq_count_deltas WHERE fingerprint IS NOT NULL
    ) AS parts
    GROUP BY fingerprint;

-- Folds the deltas into the counts; does nothing while another session is doing it. A delta with neither status nor
-- fingerprint requests a recount, see embedq_count_truncate; only workers do that (p_recount), so that no writer waits.
CREATE FUNCTION embedq_fold_counts(p_recount boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    v_recount boolean;
    v_groups bigint;
BEGIN
    IF pg_try_advisory_xact_lock(1701667442, -2) THEN
        WITH gone AS (
            DELETE FROM embedq_count_deltas WHERE p_recount OR status IS NOT NULL OR fingerprint IS NOT NULL
            RETURNING status, priority, fingerprint, delta
        ), counted AS (
            INSERT INTO embedq_counts AS c (status, priority, n)
            SELECT status, priority, sum(delta) FROM gone WHERE status IS NOT NULL GROUP BY status, priority
            ON CONFLICT (status, priority) DO UPDATE SET n = c.n + EXCLUDED.n WHERE EXCLUDED.n <> 0
        ), grouped AS (
            INSERT INTO embedq_failure_counts AS c (fingerprint, n)
            SELECT fingerprint, sum(delta) FROM gone WHERE fingerprint IS NOT NULL GROUP BY fingerprint
            ON CONFLICT (fingerprint) DO UPDATE SET n = c.n + EXCLUDED.n WHERE EXCLUDED.n <> 0
            RETURNING fingerprint
        )
        SELECT (SELECT bool_or(status IS NULL AND fingerprint IS NULL) FROM gone), (SELECT count(*) FROM grouped)
        INTO v_recount, v_groups;
        IF v_groups > 0 THEN
            DELETE FROM embedq_failure_counts WHERE n = 0;
        END IF;
        IF v_recount THEN
            PERFORM FROM embedq_repair_counts();
        END IF;
    END IF;
END
$$;

-- In another program's table, status and priority may be null; such tasks are counted under the empty string.
-- The plan is cached from the first statement of a session; if that one set very many tasks to failed, its estimated cost
-- would trigger JIT compilation each time, hence jit = off.

CREATE FUNCTION embedq_count_insert() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off AS $$
BEGIN
    INSERT INTO embedq_count_deltas (status, priority, fingerprint, delta)
    SELECT coalesce(status, ''), coalesce(priority, ''),
           CASE WHEN status = 'failed' THEN embedq_fingerprint(error_message) END, count(*)
    FROM new_rows GROUP BY 1, 2, 3;
    RETURN NULL;
END
$$;

CREATE FUNCTION embedq_count_delete() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off AS $$
BEGIN
    INSERT INTO embedq_count_deltas (status, priority, fingerprint, delta)
    SELECT coalesce(status, ''), coalesce(priority, ''),
           CASE WHEN status = 'failed' THEN embedq_fingerprint(error_message) END, -count(*)
    FROM old_rows GROUP BY 1, 2, 3;
    RETURN NULL;
END
$$;

CREATE FUNCTION embedq_count_update() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off AS $$
BEGIN
    INSERT INTO embedq_count_deltas (status, priority, fingerprint, delta)
    SELECT coalesce(status, ''), coalesce(priority, ''),
           CASE WHEN status = 'failed' THEN embedq_fingerprint(error_message) END, sum(n)
    FROM (SELECT status, priority, error_message, 1 AS n FROM new_rows
          UNION ALL
          SELECT status, priority, error_message, -1 FROM old_rows) AS moved
    GROUP BY 1, 2, 3 HAVING sum(n) <> 0;
    IF NOT FOUND AND current_setting('embedq.quiet', true) IS DISTINCT FROM 'on' THEN
        -- No count has changed, but listeners should know: a task was brought forward, a text corrected.
        INSERT INTO embedq_count_deltas (status, priority, delta)
        SELECT status, priority, 0 FROM new_rows ORDER BY status = 'pending' DESC NULLS LAST LIMIT 1;
    END IF;
    RETURN NULL;
END
$$;

-- TRUNCATE waits for every writer of the table, so the counts cover all rows. But under a stricter isolation level the
-- snapshot may be older than what those writers did. Then the next worker that folds counts again, which costs little for
-- a table that was empty a moment ago.
CREATE FUNCTION embedq_count_truncate() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO embedq_count_deltas (status, priority, delta)
    SELECT status, priority, -n FROM embedq_live_counts WHERE n <> 0;
    INSERT INTO embedq_count_deltas (fingerprint, delta)
    SELECT fingerprint, -n FROM embedq_live_failures WHERE n <> 0;
    INSERT INTO embedq_count_deltas (delta)
    SELECT 0 WHERE current_setting('transaction_isolation') <> 'read committed';
    RETURN NULL;
END
$$;

-- Folds occasionally, for a queue without workers. Only at the commit: nobody else can fold until the transaction ends, and
-- one that imports articles may last for hours. Not under a stricter isolation level, where the delete could fail and the
-- writer with it. With the rights of its owner: before PostgreSQL 18 it runs as the writer, who may lack any on our schema.
CREATE FUNCTION embedq_signal() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    v_work boolean := NEW.status = 'pending' AND NEW.delta >= 0;
BEGIN
    -- In a full queue of notifications, the transaction would fail: see embedq_notify in 005.
    IF pg_try_advisory_xact_lock(1701667442, CASE WHEN v_work THEN -3 ELSE -1 END)
       AND pg_notification_queue_usage() < 0.9
    THEN
        PERFORM pg_notify(CASE WHEN v_work THEN 'embedq_work' ELSE 'embedq_changes' END, 'tasks');
    END IF;
    IF random() < 0.002 AND current_setting('transaction_isolation') = 'read committed' THEN
        PERFORM embedq_fold_counts();
    END IF;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER embedq_signal AFTER INSERT ON embedq_count_deltas
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (current_setting('embedq.quiet', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION embedq_signal();

-- COUNT(*) by status and priority, and by group of failed tasks. A function, because a view on the columns of another
-- program's table would keep that program from altering them. STABLE, so that it uses the caller's snapshot. In plpgsql,
-- because from PostgreSQL 14 on RETURN QUERY can run in parallel, unlike an SQL function that returns a set.
CREATE FUNCTION embedq_counted() RETURNS TABLE (status text, priority text, fingerprint text, n bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT coalesce(t.status, '')::text, coalesce(t.priority, '')::text, NULL, count(*)
    FROM embedding_tasks t GROUP BY 1, 2
    UNION ALL
    SELECT NULL, NULL, embedq_fingerprint(t.error_message), count(*)
    FROM embedding_tasks t WHERE t.status = 'failed' GROUP BY 3;
END
$$;

-- Maintained counts that differ from COUNT(*): by status and priority, or by group of failed tasks.
CREATE VIEW embedq_count_drift AS
    WITH counted AS MATERIALIZED (
        SELECT * FROM embedq_counted()
    )
    SELECT coalesce(k.status, c.status) AS status, coalesce(k.priority, c.priority) AS priority,
           NULL AS fingerprint, coalesce(k.n, 0) AS kept, coalesce(c.n, 0) AS counted
    FROM embedq_live_counts k
    FULL JOIN (SELECT * FROM counted WHERE fingerprint IS NULL) AS c ON c.status = k.status AND c.priority = k.priority
    WHERE coalesce(k.n, 0) <> coalesce(c.n, 0)
    UNION ALL
    SELECT NULL, NULL, coalesce(k.fingerprint, c.fingerprint), coalesce(k.n, 0), coalesce(c.n, 0)
    FROM embedq_live_failures k
    FULL JOIN (SELECT * FROM counted WHERE fingerprint IS NOT NULL) AS c ON c.fingerprint = k.fingerprint
    WHERE coalesce(k.n, 0) <> coalesce(c.n, 0);

-- Sets the counts to COUNT(*). One statement, so one snapshot: concurrent changes are not lost, as their deltas are added
-- to the result. Only one session at a time, otherwise the same drift would be repaired twice. Returns what was wrong.
CREATE FUNCTION embedq_repair_counts() RETURNS SETOF embedq_count_drift
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'embedq_repair_counts requires READ COMMITTED: it must see earlier repairs';
    END IF;
    PERFORM pg_advisory_xact_lock(1701667442, -6);
    RETURN QUERY
        WITH wrong AS MATERIALIZED (
            SELECT * FROM embedq_count_drift
        ), repaired AS (
            INSERT INTO embedq_count_deltas (status, priority, fingerprint, delta)
            SELECT status, priority, fingerprint, counted - kept FROM wrong
        )
        SELECT * FROM wrong;
END
$$;

-- CREATE TRIGGER waits for current writers and blocks new ones for a moment; from its commit on, every change is counted.
-- Existing rows are counted by 010.
CREATE TRIGGER embedq_count_insert AFTER INSERT ON embedding_tasks
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION embedq_count_insert();
CREATE TRIGGER embedq_count_update AFTER UPDATE ON embedding_tasks
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION embedq_count_update();
CREATE TRIGGER embedq_count_delete AFTER DELETE ON embedding_tasks
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION embedq_count_delete();
CREATE TRIGGER embedq_count_truncate BEFORE TRUNCATE ON embedding_tasks
    FOR EACH STATEMENT EXECUTE FUNCTION embedq_count_truncate();
