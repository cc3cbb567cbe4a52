-- Workers: one row each, one heartbeat for all tasks it holds, and operators' orders to all workers.

-- SECURITY DEFINER functions must search pg_temp last, because any role can create tables there.
SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), 'pg_temp'), true);

-- An operator's UPDATE of is_running in psql stops or starts all workers, even if the value does not change. A program
-- that starts, beats or ends changes other columns too, and only reports its own state.
CREATE FUNCTION embedq_running_changed() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    -- Not in the WHEN of the trigger, which would keep another program from altering these columns.
    IF (OLD.last_heartbeat, OLD.started_at, OLD.tasks_processed)
       IS DISTINCT FROM (NEW.last_heartbeat, NEW.started_at, NEW.tasks_processed)
    THEN
        RETURN NULL;
    END IF;
    INSERT INTO embedq_control (id, stopped_at, stopped_by)
    VALUES (1, CASE WHEN NEW.is_running THEN NULL ELSE clock_timestamp() END,
            CASE WHEN NEW.is_running THEN NULL ELSE session_user || ' (SQL)' END)
    ON CONFLICT (id) DO UPDATE SET stopped_at = EXCLUDED.stopped_at, stopped_by = EXCLUDED.stopped_by;
    PERFORM embedq_notify('embedq_work', 'control');
    PERFORM embedq_notify('embedq_changes', 'control');
    RETURN NULL;
END
$$;

-- The row must exist to be updated.
INSERT INTO embedding_worker_status (id, is_running) VALUES (1, false) ON CONFLICT (id) DO NOTHING;

CREATE TRIGGER embedq_running_changed AFTER UPDATE OF is_running ON embedding_worker_status FOR EACH ROW
    WHEN (current_setting('embedq.quiet', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION embedq_running_changed();

-- Another program's worker beats in the status row too, and goes on when the last of ours ends. Not UPDATE OF a column, or
-- in a WHEN: see above.
CREATE FUNCTION embedq_foreign_beat() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF OLD.last_heartbeat IS DISTINCT FROM NEW.last_heartbeat THEN
        UPDATE embedq_control SET foreign_beat_at = CASE WHEN NEW.is_running THEN clock_timestamp() END
        WHERE CASE WHEN NEW.is_running THEN (foreign_beat_at BETWEEN clock_timestamp() - interval '10 seconds'
                                                               AND clock_timestamp()) IS NOT TRUE
                   ELSE foreign_beat_at IS NOT NULL END;  -- not for each task that it completes
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER embedq_foreign_beat AFTER UPDATE ON embedding_worker_status FOR EACH ROW
    WHEN (current_setting('embedq.quiet', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION embedq_foreign_beat();

-- Whether there is a worker besides this one: of ours, or another program's that beat lately (by default, they beat every
-- 30 seconds). A beat in the future is of before the server's clock was set back.
CREATE FUNCTION embedq_is_served(p_besides uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT EXISTS (SELECT FROM embedq_workers WHERE id IS DISTINCT FROM p_besides AND state IN ('running', 'stopping'))
        OR EXISTS (SELECT FROM embedq_control
                   WHERE foreign_beat_at BETWEEN clock_timestamp() - interval '2 minutes' AND clock_timestamp())
$$;

-- Locks the status row, so that a concurrent order is read afterwards. False if another session keeps it locked, such as
-- an UPDATE in psql that is not committed: no worker may wait for that, or all of them would seem dead.
CREATE FUNCTION embedq_lock_status() RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT SET lock_timeout = '500ms' AS $$
BEGIN
    PERFORM FROM embedding_worker_status WHERE id = 1 FOR UPDATE;
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END
$$;

-- Registers a worker, and sets the status row to running unless an operator has stopped the workers. What it has reported is
-- in its row already if it was declared dead; if the row was deleted, p_succeeded and p_failed begin the new one.
CREATE FUNCTION embedq_worker_start(
    p_worker uuid, p_host text, p_pid int, p_host_key text, p_version text, p_provider text, p_settings jsonb,
    p_succeeded bigint DEFAULT 0, p_failed bigint DEFAULT 0)
RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM set_config('embedq.quiet', 'on', true);
    INSERT INTO embedq_workers AS w (id, host, pid, host_key, version, provider, settings, state,
                                     processed, succeeded, failed)
    VALUES (p_worker, p_host, p_pid, p_host_key, p_version, p_provider, p_settings, 'running',
            p_succeeded + p_failed, p_succeeded, p_failed)
    ON CONFLICT (id) DO UPDATE SET state = 'running', heartbeat_at = clock_timestamp(), stopped_at = NULL, note = '';
    IF embedq_lock_status() THEN
        INSERT INTO embedding_worker_status AS s (id, is_running, last_heartbeat, started_at)
        SELECT 1, c.stopped_at IS NULL, clock_timestamp(), clock_timestamp() FROM embedq_control c
        ON CONFLICT (id) DO UPDATE
        SET is_running = EXCLUDED.is_running, last_heartbeat = EXCLUDED.last_heartbeat,
            started_at = EXCLUDED.started_at;
    END IF;
    INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, metadata)
    VALUES (embedq_uuid(), clock_timestamp(), 'info', 'worker_status', 'Worker started',
            jsonb_build_object('worker', p_worker, 'host', p_host, 'pid', p_pid, 'version', p_version));
    PERFORM embedq_notify('embedq_changes', 'workers');
END
$$;

-- The heartbeat of a worker: reports that it is alive, what it has done since it started and its concurrency (null if
-- unchanged), and returns its orders. As these are totals, a heartbeat whose answer was lost is not counted twice; and while
-- the status row is locked, nothing is counted until a later heartbeat.
--
-- Returns: known       false: it has been declared dead and must register again
--          block       'stopped' or 'paused' while no worker may claim, see embedq_claim, or 'paused' while this one may
--                      not, which is up to the worker; else empty
--          block_since, block_by  since when, and by whom
--          stop_asked  'graceful' or 'force': an order to this worker alone to exit; else empty
--          concurrency the one ordered for this worker alone, or null
CREATE FUNCTION embedq_worker_beat(
    p_worker uuid, p_state text, p_note text, p_in_hand int, p_succeeded bigint, p_failed bigint, p_concurrency int)
RETURNS TABLE (known boolean, block text, block_since timestamptz, block_by text, stop_asked text, concurrency int)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    v_asked text;
    v_wanted int;
    v_paused_at timestamptz;
    v_paused_by text;
    v_known boolean;
    v_unlocked boolean;
    v_succeeded bigint;
    v_failed bigint;
BEGIN
    PERFORM set_config('embedq.quiet', 'on', true);
    SELECT w.state IN ('running', 'stopping'), greatest(p_succeeded - w.succeeded, 0), greatest(p_failed - w.failed, 0),
           w.concurrency_wanted, w.paused_at, w.paused_by
    INTO v_known, v_succeeded, v_failed, v_wanted, v_paused_at, v_paused_by FROM embedq_workers w
    WHERE w.id = p_worker FOR UPDATE;  -- before the status row, as orders do
    v_known := coalesce(v_known, false);
    UPDATE embedq_workers w SET settings = jsonb_set(w.settings, '{concurrency}', to_jsonb(p_concurrency))
    WHERE w.id = p_worker AND p_concurrency IS NOT NULL
      AND w.settings -> 'concurrency' IS DISTINCT FROM to_jsonb(p_concurrency);
    IF FOUND THEN
        PERFORM embedq_notify('embedq_changes', 'workers');
    END IF;
    v_unlocked := embedq_lock_status();
    IF NOT (v_known AND v_unlocked) THEN
        v_succeeded := 0;
        v_failed := 0;
    END IF;
    UPDATE embedq_workers w
    SET heartbeat_at = clock_timestamp(), state = p_state, note = p_note, in_hand = p_in_hand,
        processed = w.processed + v_succeeded + v_failed, succeeded = w.succeeded + v_succeeded,
        failed = w.failed + v_failed
    WHERE w.id = p_worker AND v_known
    RETURNING w.stop_requested INTO v_asked;
    -- Both rows may be missing, after a TRUNCATE in psql or a restore without the rows of some tables. Without the look, the
    -- INSERT would wait for whoever has updated the row and not yet committed.
    INSERT INTO embedq_control (id) SELECT 1 WHERE NOT EXISTS (SELECT FROM embedq_control) ON CONFLICT (id) DO NOTHING;
    IF v_unlocked THEN
        -- The counters are of type int; they stay at the maximum.
        INSERT INTO embedding_worker_status (id, is_running, started_at) VALUES (1, false, clock_timestamp())
        ON CONFLICT (id) DO NOTHING;
        UPDATE embedding_worker_status s
        SET last_heartbeat = clock_timestamp(), is_running = c.stopped_at IS NULL,
            tasks_processed = least(coalesce(s.tasks_processed, 0)::bigint + v_succeeded + v_failed, 2147483647),
            tasks_succeeded = least(coalesce(s.tasks_succeeded, 0)::bigint + v_succeeded, 2147483647),
            tasks_failed = least(coalesce(s.tasks_failed, 0)::bigint + v_failed, 2147483647)
        FROM embedq_control c WHERE s.id = 1;
    END IF;
    RETURN QUERY SELECT v_known,
        CASE WHEN c.stopped_at IS NOT NULL THEN 'stopped'
             WHEN coalesce(c.paused_at, v_paused_at) IS NOT NULL THEN 'paused' ELSE '' END,
        coalesce(c.stopped_at, c.paused_at, v_paused_at),
        coalesce(CASE WHEN c.stopped_at IS NOT NULL THEN c.stopped_by
                      WHEN c.paused_at IS NOT NULL THEN c.paused_by ELSE v_paused_by END, ''),
        coalesce(v_asked, ''), v_wanted
    FROM embedq_control c;
END
$$;

-- Deregisters a worker; the last one of all programs sets the status row to not running.
CREATE FUNCTION embedq_worker_stop(p_worker uuid, p_note text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM set_config('embedq.quiet', 'on', true);
    UPDATE embedq_workers SET state = 'stopped', stopped_at = clock_timestamp(), note = p_note, in_hand = 0
    WHERE id = p_worker;
    IF embedq_lock_status() THEN  -- of two concurrent ones, the second sees the first
        UPDATE embedding_worker_status SET is_running = false
        WHERE id = 1 AND NOT embedq_is_served(p_worker);
    END IF;
    INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, metadata)
    VALUES (embedq_uuid(), clock_timestamp(), 'info', 'worker_status', 'Worker stopped',
            jsonb_build_object('worker', p_worker, 'reason', p_note));
    PERFORM embedq_notify('embedq_changes', 'workers');
END
$$;

-- What remains for a worker of this scope: whether a task is due now or within p_within_ms, and the milliseconds until
-- the next task that is not yet due. A few index lookups, whatever the size.
CREATE FUNCTION embedq_outlook(p_priorities text[], p_folders text[], p_within_ms bigint)
RETURNS TABLE (more boolean, next_ms bigint)
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT coalesce(bool_or(first_at <= clock_timestamp() + p_within_ms * interval '1 millisecond'), false),
           embedq_elapsed_ms(clock_timestamp(), min(next_at))::bigint
    FROM (VALUES (0, 'high'), (1, 'normal'), (2, 'low')) AS r(rank, name)
    LEFT JOIN LATERAL (
        SELECT t.scheduled_at AS first_at FROM embedding_tasks t
        WHERE t.status = 'pending' AND embedq_rank(t.priority) = r.rank
          AND (p_folders IS NULL OR embedq_in_folders(t.article_id, p_folders))
        ORDER BY t.scheduled_at LIMIT 1) AS f ON true
    LEFT JOIN LATERAL (
        SELECT t.scheduled_at AS next_at FROM embedding_tasks t
        WHERE t.status = 'pending' AND embedq_rank(t.priority) = r.rank AND t.scheduled_at > now()  -- stable: bounds the index scan
          AND (p_folders IS NULL OR embedq_in_folders(t.article_id, p_folders))
        ORDER BY t.scheduled_at LIMIT 1) AS n ON true
    WHERE p_priorities IS NULL OR r.name = ANY (p_priorities);
END
$$;

-- An operator's order to all workers: 'start', 'stop', 'stop now', 'pause', 'resume'. A stop keeps all workers from
-- claiming and tells running ones to exit, after finishing what they hold or at once; start lifts it, also for workers
-- that have not received it yet. A resume also lifts the pauses of single workers. Returns the workers told to exit.
CREATE FUNCTION embedq_command(p_command text, p_by text) RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    v_asked uuid[];
BEGIN
    PERFORM set_config('embedq.quiet', 'on', true);
    -- Lock workers first, then the status row, the order in which a heartbeat takes them.
    WITH workers AS (
        SELECT w.id FROM embedq_workers w
        WHERE w.state IN ('running', 'stopping') AND p_command IN ('stop', 'stop now')
        ORDER BY w.id FOR UPDATE
    ), asked AS (
        UPDATE embedq_workers w
        SET stop_requested = CASE WHEN p_command = 'stop' THEN coalesce(w.stop_requested, 'graceful') ELSE 'force' END
        FROM workers a WHERE w.id = a.id RETURNING w.id
    )
    SELECT array_agg(a.id) INTO v_asked FROM asked a;
    UPDATE embedq_workers w SET stop_requested = NULL
    FROM (SELECT o.id FROM embedq_workers o WHERE o.state = 'running' AND o.stop_requested = 'graceful'
                                              AND p_command = 'start' ORDER BY o.id FOR UPDATE) AS spared
    WHERE w.id = spared.id;
    UPDATE embedq_workers w SET paused_at = NULL, paused_by = NULL
    FROM (SELECT o.id FROM embedq_workers o WHERE o.paused_at IS NOT NULL AND p_command = 'resume'
          ORDER BY o.id FOR UPDATE) AS paused
    WHERE w.id = paused.id;
    PERFORM FROM embedding_worker_status WHERE id = 1 FOR UPDATE;  -- then embedq_control, as an UPDATE in psql does
    INSERT INTO embedq_control (id) VALUES (1) ON CONFLICT (id) DO NOTHING;
    CASE p_command
        WHEN 'stop', 'stop now' THEN UPDATE embedq_control SET stopped_at = clock_timestamp(), stopped_by = p_by;
        WHEN 'start' THEN UPDATE embedq_control SET stopped_at = NULL, stopped_by = NULL;
        WHEN 'pause' THEN UPDATE embedq_control SET paused_at = clock_timestamp(), paused_by = p_by;
        WHEN 'resume' THEN UPDATE embedq_control SET paused_at = NULL, paused_by = NULL;
    END CASE;
    UPDATE embedding_worker_status SET is_running = p_command = 'start' AND embedq_is_served(NULL)
    WHERE id = 1 AND p_command IN ('start', 'stop', 'stop now');
    INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, metadata)
    VALUES (embedq_uuid(), clock_timestamp(), 'info', 'queue_operations', 'Operator: ' || p_command,
            embedq_signature(p_by) || CASE WHEN p_command IN ('stop', 'stop now')
                THEN jsonb_build_object('workers', coalesce(cardinality(v_asked), 0)) ELSE '{}' END);
    PERFORM embedq_notify('embedq_work', 'control');
    PERFORM embedq_notify('embedq_changes', 'control');
    RETURN QUERY SELECT unnest(v_asked);
END
$$;
