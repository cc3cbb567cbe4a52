-- Exact counts and signals, whoever writes: statement triggers append signed deltas, never touching a row that another
-- writer touches. SECURITY DEFINER because the article program's role knows nothing of our tables.
--
-- A signal is sent at most once per transaction and only by one of those that commit at the same moment: NOTIFY takes
-- a global lock at commit. It is decided by a deferred trigger, so just before the commit: whoever listens looks again
-- 50 ms after each signal and so sees the commits that came with it. embedq.quiet is set by our own functions; workers
-- announce their own changes, ten times a second at most.

-- Functions that run with their owner's rights look for tables in pg_temp last: there others make what they like.
SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), 'pg_temp'), true);

-- Failed tasks by the fingerprint of their error are counted in the same way.
CREATE TABLE embedq_failure_counts (
    fingerprint text PRIMARY KEY,
    n bigint NOT NULL
);

-- the biggest groups; those that are empty
CREATE INDEX embedq_failure_counts_n_idx ON embedq_failure_counts (n DESC, fingerprint);

CREATE VIEW embedq_live_failures AS
    SELECT fingerprint, sum(n)::bigint AS n
    FROM (
        SELECT fingerprint, n FROM embedq_failure_counts
        UNION ALL
        SELECT fingerprint, delta FROM embedq_count_deltas WHERE fingerprint IS NOT NULL
    ) AS parts
    GROUP BY fingerprint;

-- Moves the deltas into the counts; whoever comes while another does it leaves it to the other. A delta of nothing asks
-- for a recount, see embedq_count_truncate: that is for workers (p_recount), no writer is to wait for it.
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

-- Status and priority of another program's table may be null: such tasks are counted under the empty word.
-- The triggers fold now and then, for a queue that no worker serves; not under a stricter isolation, where the delete
-- could fail, and the writer with it. A plan is kept from the first statement of a session on, and where that failed
-- very many tasks it looked dear enough to be compiled each time: hence no jit.

CREATE FUNCTION embedq_count_insert() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off AS $$
BEGIN
    INSERT INTO embedq_count_deltas (status, priority, fingerprint, delta)
    SELECT coalesce(status, ''), coalesce(priority, ''),
           CASE WHEN status = 'failed' THEN embedq_fingerprint(error_message) END, count(*)
    FROM new_rows GROUP BY 1, 2, 3;
    IF random() < 0.002 AND current_setting('transaction_isolation') = 'read committed' THEN
        PERFORM embedq_fold_counts();
    END IF;
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
    IF random() < 0.002 AND current_setting('transaction_isolation') = 'read committed' THEN
        PERFORM embedq_fold_counts();
    END IF;
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
        -- Nothing to count, but something to tell: a task brought forward, a text corrected.
        INSERT INTO embedq_count_deltas (status, priority, delta)
        SELECT status, priority, 0 FROM new_rows ORDER BY status = 'pending' DESC NULLS LAST LIMIT 1;
    END IF;
    IF random() < 0.002 AND current_setting('transaction_isolation') = 'read committed' THEN
        PERFORM embedq_fold_counts();
    END IF;
    RETURN NULL;
END
$$;

-- TRUNCATE waits for every writer of the table, so what is counted here is all there was; but under a stricter isolation
-- the snapshot may be older than what they did, and nothing younger can be seen. Then the counts are made anew by the
-- next worker that folds, which costs little of a table that was empty a moment ago.
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

-- No search_path of its own: it names nothing of ours, and runs for every commit.
CREATE FUNCTION embedq_signal() RETURNS trigger LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_sent text := coalesce(current_setting('embedq.signalled', true), '');
    v_work boolean := NEW.status = 'pending' AND NEW.delta >= 0;
BEGIN
    IF v_sent = 'work' OR (v_sent = 'changes' AND NOT v_work) THEN
        RETURN NULL;
    END IF;
    IF v_sent = '' AND pg_try_advisory_xact_lock(1701667442, -1) THEN
        PERFORM pg_notify('embedq_changes', 'tasks');
    END IF;
    IF v_work AND pg_try_advisory_xact_lock(1701667442, -3) THEN
        PERFORM pg_notify('embedq_work', 'tasks');
    END IF;
    PERFORM set_config('embedq.signalled', CASE WHEN v_work THEN 'work' ELSE 'changes' END, true);
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER embedq_signal AFTER INSERT ON embedq_count_deltas
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (current_setting('embedq.quiet', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION embedq_signal();

-- What COUNT(*) says: of each status and priority, and of each group of failed tasks. A function, because a view that names
-- the columns of another program's table keeps that program from altering them. Stable: it sees what its caller sees. In
-- plpgsql, whose RETURN QUERY is run by several processes from 14 on; what SQL returns row by row is not.
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

-- Where the kept counts are not what COUNT(*) says: of a status and priority, or of a group of failed tasks.
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

-- Makes the counts equal to COUNT(*). One statement, so one snapshot: what others do meanwhile is not lost, their deltas
-- come on top. One at a time, or the same drift would be repaired twice. Returns what was wrong.
CREATE FUNCTION embedq_repair_counts() RETURNS SETOF embedq_count_drift
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'embedq_repair_counts needs READ COMMITTED: it has to see what was repaired before it';
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

-- CREATE TRIGGER waits for the writers there are and holds new ones off for a moment; from its commit on every change
-- is counted. The rows of before are counted by 010.
CREATE TRIGGER embedq_count_insert AFTER INSERT ON embedding_tasks
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION embedq_count_insert();
CREATE TRIGGER embedq_count_update AFTER UPDATE ON embedding_tasks
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION embedq_count_update();
CREATE TRIGGER embedq_count_delete AFTER DELETE ON embedding_tasks
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION embedq_count_delete();
CREATE TRIGGER embedq_count_truncate BEFORE TRUNCATE ON embedding_tasks
    FOR EACH STATEMENT EXECUTE FUNCTION embedq_count_truncate();
