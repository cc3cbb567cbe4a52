-- The other ways a claim ends: failed, returned, or taken back from a worker that is gone.

-- Ends claims that did not lead to embeddings, in one round trip per batch.
--
-- Per task:  p_kind      'retry'    an attempt failed: pending again after the delay, or failed if no attempts are left
--                        'final'    a retry would fail as well: failed now
--                        'release'  not the task's fault: pending again after the delay, no attempt is charged
--                        'isolate'  one of a batch that hit its deadline or an unexpected error: as release, but the
--                                   next claim takes the task alone, so that only the culprit is charged
--            p_error     one line, p_detail the stack trace or null, p_delay_ms from now, by the database's clock
--            p_source    embedq_source() of the text of the attempt; null if there was none
-- Outcomes:  requeued, failed
--            changed    the article no longer has the text of the attempt: the task is pending again for the new text,
--                       no attempt is charged
--            lost       the claim is no longer ours: nothing was written
--            contended  another session has locked the task: nothing was written. A task that is returned alone waits
--                       instead; as it holds no other lock, it cannot deadlock with an operator's statement that locks
--                       many tasks.
CREATE FUNCTION embedq_return(
    p_worker uuid, p_task uuid[], p_token bigint[], p_claimed_at timestamptz[],
    p_kind text[], p_error text[], p_detail text[], p_delay_ms bigint[], p_source text[])
RETURNS TABLE (task_id uuid, outcome text)
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET enable_seqscan = off SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz;
BEGIN
    PERFORM set_config('embedq.quiet', 'on', true);
    IF cardinality(p_task) = 1 THEN
        PERFORM FROM embedding_tasks t WHERE t.id = p_task[1] FOR UPDATE;
    END IF;
    v_now := clock_timestamp();
    RETURN QUERY
        WITH asked AS (
            SELECT * FROM unnest(p_task, p_token, p_claimed_at, p_kind, p_error, p_detail, p_delay_ms, p_source)
                AS a(id, token, claimed_at, kind, error, detail, delay_ms, source)
        ), held AS (
            SELECT t.id, k.kind, a.error, a.detail, CASE k.kind WHEN 'changed' THEN 0 ELSE a.delay_ms END AS delay_ms,
                   k.kind = 'final' OR (k.kind = 'retry'
                       AND embedq_one_more(t.attempts) >= coalesce(t.max_attempts, 3)) AS ends
            FROM asked a CROSS JOIN LATERAL (
                SELECT * FROM embedding_tasks l
                WHERE l.id = a.id AND l.status IN ('processing', '') AND l.worker_id = p_worker
                  AND l.claim_token = a.token AND l.claimed_at = a.claimed_at AND l.processed_at = a.claimed_at
                FOR UPDATE SKIP LOCKED) AS t
            CROSS JOIN LATERAL (
                SELECT CASE WHEN a.kind IN ('retry', 'final') AND a.source IS NOT NULL AND NOT EXISTS (
                                SELECT FROM articles n
                                WHERE n.id = t.article_id AND n.no_rag IS NOT TRUE
                                  AND embedq_source(n.title, n.slug, n.content) = a.source OFFSET 0)
                            THEN 'changed' ELSE a.kind END AS kind OFFSET 0) AS k
        ), returned AS (
            UPDATE embedding_tasks t
            SET status = CASE WHEN h.ends THEN 'failed' ELSE 'pending' END,
                attempts = CASE WHEN h.kind IN ('retry', 'final') THEN embedq_one_more(t.attempts)
                                ELSE t.attempts END,
                crash_count = CASE h.kind WHEN 'release' THEN t.crash_count
                                          WHEN 'isolate' THEN embedq_one_more(t.crash_count) END,
                processed_at = CASE WHEN h.ends THEN t.processed_at END,
                completed_at = CASE WHEN h.ends THEN v_now END,
                scheduled_at = CASE WHEN h.ends THEN t.scheduled_at
                                    WHEN h.delay_ms > 0 THEN v_now + h.delay_ms * interval '1 millisecond'
                                    ELSE t.scheduled_at END,
                error_message = CASE h.kind WHEN 'release' THEN t.error_message WHEN 'changed' THEN NULL ELSE h.error END
            FROM held h WHERE t.id = h.id AND t.id = ANY (p_task)
            RETURNING t.id, t.article_id, t.attempts, t.max_attempts, t.claimed_at, h.kind, h.error, h.detail, h.ends,
                      h.delay_ms
        ), audited AS (
            INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, task_id, article_id, metadata,
                                              duration, error, stack_trace)
            SELECT embedq_uuid(), v_now,
                   CASE WHEN r.ends THEN 'error' WHEN r.kind = 'release' THEN 'debug' WHEN r.kind = 'changed' THEN 'info'
                        ELSE 'warn' END,
                   CASE WHEN r.kind IN ('release', 'changed') THEN 'task_lifecycle' ELSE 'error_handling' END,
                   CASE WHEN r.ends THEN 'Task failed' WHEN r.kind = 'release' THEN 'Task given back'
                        WHEN r.kind = 'changed' THEN 'Task requeued: the article changed while it was embedded'
                        WHEN r.kind = 'isolate' THEN 'Task given back, to be tried alone'
                        ELSE 'Attempt failed, will be retried' END,
                   r.id, r.article_id,
                   jsonb_build_object('worker', p_worker, 'attempt', r.attempts, 'max_attempts', r.max_attempts,
                                      'delay_ms', r.delay_ms),
                   embedq_elapsed_ms(r.claimed_at, v_now), r.error, r.detail
            FROM returned r
        )
        SELECT a.id, CASE WHEN r.ends THEN 'failed' WHEN r.kind = 'changed' THEN 'changed' WHEN r.id IS NOT NULL THEN 'requeued'
                          WHEN t.status = 'processing' AND t.worker_id = p_worker AND t.claim_token = a.token
                               AND t.processed_at = a.claimed_at THEN 'contended'
                          ELSE 'lost' END
        FROM asked a LEFT JOIN returned r ON r.id = a.id
        LEFT JOIN LATERAL (SELECT * FROM embedding_tasks l WHERE l.id = a.id OFFSET 0) AS t ON true;
END
$$;

-- Makes pending tasks due that have no due time; and those that were due when they were created, which seems to be in the
-- future: the server's clock was set back since, or that of whoever queued them is ahead. In the order of our indexes and
-- without a sort, so that the planner uses them and not another program's index, with which it would read all pending tasks.
CREATE FUNCTION embedq_make_due(p_limit int) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    v_latest timestamptz;
BEGIN
    UPDATE embedding_tasks t SET scheduled_at = clock_timestamp()
    FROM (VALUES (0), (1), (2)) AS r(rank)
    CROSS JOIN LATERAL (SELECT o.id FROM embedding_tasks o
          WHERE o.status = 'pending' AND embedq_rank(o.priority) = r.rank AND o.scheduled_at IS NULL
          ORDER BY o.scheduled_at LIMIT p_limit FOR UPDATE SKIP LOCKED) AS timeless
    WHERE t.id = timeless.id;
    -- Only those due until then are looked through: a great many may be scheduled for later. Only the newest thousand
    -- that were created in the future are looked at: as many that are scheduled for later still hide those that were due.
    SELECT max(a.created_at) INTO v_latest
    FROM (VALUES (1), (2), (3)) AS r(rank)
    CROSS JOIN LATERAL (SELECT o.created_at, o.scheduled_at FROM embedding_tasks o
          WHERE o.status = 'pending'
            AND (CASE o.priority WHEN 'high' THEN 1 WHEN 'normal' THEN 2 WHEN 'low' THEN 3 END) = r.rank
            AND o.created_at > now() + interval '1 minute' AND o.created_at < 'infinity'
          ORDER BY o.created_at DESC LIMIT 1000) AS a
    WHERE a.scheduled_at <= a.created_at;
    IF v_latest IS NOT NULL THEN
        WITH due AS (
            UPDATE embedding_tasks t SET scheduled_at = clock_timestamp()
            FROM (VALUES (0), (1), (2)) AS r(rank)
            CROSS JOIN LATERAL (SELECT o.id FROM embedding_tasks o
                  WHERE o.status = 'pending' AND embedq_rank(o.priority) = r.rank AND o.scheduled_at > now()
                    AND o.scheduled_at <= v_latest
                    AND o.created_at > now() + interval '1 minute' AND o.scheduled_at <= o.created_at
                  ORDER BY o.scheduled_at LIMIT p_limit FOR UPDATE SKIP LOCKED) AS ahead
            WHERE t.id = ahead.id
            RETURNING t.id
        )
        INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, metadata)
        SELECT embedq_uuid(), clock_timestamp(), 'warn', 'queue_operations',
               'Tasks made due that were created in the future: a clock was set back, or is ahead',
               jsonb_build_object('tasks', n, 'ahead_s', round(extract(epoch FROM v_latest - now())))
        FROM (SELECT count(*) AS n FROM due) AS d WHERE n > 0;
    END IF;
END
$$;

-- Takes back tasks that no living worker holds. Every worker calls it regularly; only one at a time does the work.
--
-- A claim of ours is orphaned if its worker is gone, or has sent no heartbeat for p_dead_ms. Any claim, including another
-- program's, is stuck if it is older than p_stuck_ms. Another program's is charged as an attempt. For one of ours none is
-- charged, because a worker that dies or hangs affects a whole batch, and a machine that was suspended for hours, or a clock
-- that is set ahead, affects all that is in hand; but from then on the tasks are claimed alone, and a task that was taken
-- back as many times as it has attempts is failed.
CREATE FUNCTION embedq_rescue(p_dead_ms bigint, p_stuck_ms bigint, p_limit int)
RETURNS TABLE (task_id uuid, outcome text, reason text)
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    IF NOT pg_try_advisory_xact_lock(1701667442, -4) THEN
        RETURN;
    END IF;
    -- The server's clock was set back: who is alive sends a heartbeat soon, who is dead must not seem alive for hours.
    UPDATE embedq_workers w SET heartbeat_at = v_now
    WHERE w.state IN ('running', 'stopping') AND w.heartbeat_at > clock_timestamp();
    UPDATE embedq_workers w SET state = 'dead', stopped_at = v_now, note = 'no heartbeat'
    WHERE w.state IN ('running', 'stopping')
      AND NOT embedq_alive(w.state, w.heartbeat_at, p_dead_ms * interval '1 millisecond');
    PERFORM embedq_make_due(p_limit * 10);
    -- Not quiet: every worker may claim the returned tasks. Timestamps are taken when the rows are written: a worker that
    -- was declared dead may claim a task in the meantime, which is taken back too, and the audit row of that claim must
    -- come first.
    RETURN QUERY
        WITH orphans AS (
            SELECT t.id, t.worker_id, (t.claimed_at = t.processed_at) IS TRUE AS ours,
                   CASE WHEN t.worker_id IS NOT NULL AND t.claimed_at = t.processed_at
                             AND NOT EXISTS (SELECT FROM embedq_workers w
                                             WHERE w.id = t.worker_id AND w.state IN ('running', 'stopping'))
                        THEN 'worker gone' ELSE 'claim too old' END AS reason
            FROM embedding_tasks t
            WHERE t.status = 'processing'
              AND ((t.worker_id IS NOT NULL AND t.claimed_at = t.processed_at
                    AND NOT EXISTS (SELECT FROM embedq_workers w
                                    WHERE w.id = t.worker_id AND w.state IN ('running', 'stopping')))
                   OR embedq_held_since(t.processed_at, t.created_at) < v_now - p_stuck_ms * interval '1 millisecond')
            LIMIT p_limit FOR UPDATE OF t SKIP LOCKED
        ), judged AS (
            SELECT o.id, o.worker_id, o.reason, o.ours,
                   CASE WHEN o.ours
                        THEN embedq_one_more(t.crash_count) >= greatest(coalesce(t.max_attempts, 3), 2)
                        ELSE embedq_one_more(t.attempts) >= coalesce(t.max_attempts, 3) END AS ends
            FROM orphans o JOIN embedding_tasks t ON t.id = o.id
        ), rescued AS (
            UPDATE embedding_tasks t
            SET status = CASE WHEN j.ends THEN 'failed' ELSE 'pending' END,
                attempts = CASE WHEN j.ours AND NOT j.ends THEN t.attempts ELSE embedq_one_more(t.attempts) END,
                crash_count = CASE WHEN j.ours THEN embedq_one_more(t.crash_count) ELSE t.crash_count END,
                processed_at = CASE WHEN j.ends THEN t.processed_at END,
                completed_at = CASE WHEN j.ends THEN clock_timestamp() END,
                worker_id = NULL,
                error_message = CASE WHEN j.reason = 'worker gone'
                                     THEN 'The worker that held this task died' ELSE 'The claim was held too long' END
            FROM judged j WHERE t.id = j.id
            RETURNING t.id, t.article_id, t.attempts, t.max_attempts, t.crash_count, t.error_message, j.worker_id,
                      j.reason, j.ends
        ), audited AS (
            INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, task_id, article_id, metadata,
                                              error)
            SELECT embedq_uuid(), clock_timestamp(), CASE WHEN r.ends THEN 'error' ELSE 'warn' END, 'error_handling',
                   CASE WHEN r.ends THEN 'Task failed: no worker survives it' ELSE 'Stuck task back in the queue' END,
                   r.id, r.article_id,
                   jsonb_build_object('worker', r.worker_id, 'reason', r.reason, 'attempt', r.attempts,
                                      'max_attempts', r.max_attempts, 'crashes', r.crash_count), r.error_message
            FROM rescued r
        )
        SELECT r.id, CASE WHEN r.ends THEN 'failed' ELSE 'requeued' END, r.reason FROM rescued r;
END
$$;

-- Returns claims that a worker has in the table but not in memory, because the response was lost with its connection.
CREATE FUNCTION embedq_disown(p_worker uuid, p_in_hand uuid[], p_older_ms bigint) RETURNS int
LANGUAGE sql VOLATILE SET search_path FROM CURRENT SET enable_seqscan = off SET jit = off AS $$
    WITH disowned AS (
        UPDATE embedding_tasks t SET status = 'pending', processed_at = NULL
        FROM (SELECT o.id FROM embedding_tasks o
              WHERE o.status = 'processing' AND o.worker_id = p_worker AND o.claimed_at = o.processed_at
                AND o.claimed_at < clock_timestamp() - p_older_ms * interval '1 millisecond'
                AND o.id <> ALL (p_in_hand)
              FOR UPDATE SKIP LOCKED) AS d
        WHERE t.id = d.id
        RETURNING t.id, t.article_id
    ), audited AS (
        INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, task_id, article_id, metadata)
        SELECT embedq_uuid(), clock_timestamp(), 'warn', 'task_lifecycle', 'Task given back: its claim was not received',
               d.id, d.article_id, jsonb_build_object('worker', p_worker)
        FROM disowned d
    )
    SELECT count(*)::int FROM disowned
$$;
