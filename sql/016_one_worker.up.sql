-- What an operator says to one worker, on any host: work on more or fewer batches at once, or end.

ALTER TABLE embedq_workers
    ADD COLUMN concurrency_wanted int;    -- by an operator; null: as it was started

-- A beat (014) that also says how many batches the worker works on at once, and hears how many it should; null where
-- nobody said so. The old one stays: workers of before use it until they are replaced.
CREATE FUNCTION embedq_worker_report(
    p_worker uuid, p_state text, p_note text, p_in_hand int, p_succeeded int, p_failed int, p_concurrency int)
RETURNS TABLE (known boolean, block text, block_since timestamptz, block_by text, stop_asked text, concurrency int)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
BEGIN
    UPDATE embedq_workers w SET settings = jsonb_set(w.settings, '{concurrency}', to_jsonb(p_concurrency))
    WHERE w.id = p_worker AND p_concurrency IS NOT NULL
      AND w.settings -> 'concurrency' IS DISTINCT FROM to_jsonb(p_concurrency);
    IF FOUND THEN
        PERFORM pg_notify('embedq_changes', 'workers');
    END IF;
    RETURN QUERY SELECT b.known, b.block, b.block_since, b.block_by, b.stop_asked,
                        (SELECT w.concurrency_wanted FROM embedq_workers w WHERE w.id = p_worker)
    FROM embedq_worker_beat(p_worker, p_state, p_note, p_in_hand, p_succeeded, p_failed) b;
END
$$;

-- Enters an operator's word to one worker that runs, and wakes it: how many batches at once, or (p_stop: 'graceful',
-- 'force') that it is to end. False where there is no such worker, or where it ends already.
CREATE FUNCTION embedq_worker_order(p_worker uuid, p_concurrency int, p_stop text, p_by text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    v_place text;
BEGIN
    PERFORM set_config('embedq.quiet', 'on', true);
    UPDATE embedq_workers w
    SET concurrency_wanted = coalesce(p_concurrency, w.concurrency_wanted),
        stop_requested = CASE WHEN w.stop_requested = 'force' THEN 'force' ELSE coalesce(p_stop, w.stop_requested) END
    WHERE w.id = p_worker AND (w.state = 'running' OR w.state = 'stopping' AND p_stop IS NOT NULL)
    RETURNING w.host || '/' || w.pid INTO v_place;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, metadata)
    VALUES (embedq_uuid(), clock_timestamp(), 'info', 'queue_operations',
            CASE WHEN p_stop IS NULL THEN 'Operator: concurrency of a worker set'
                 ELSE 'Operator: a worker asked to end' END,
            embedq_signature(p_by) || jsonb_strip_nulls(jsonb_build_object(
                'worker', p_worker, 'place', v_place, 'concurrency', p_concurrency, 'stop', p_stop)));
    PERFORM pg_notify('embedq_work', 'control');
    PERFORM pg_notify('embedq_changes', 'workers');
    RETURN true;
END
$$;
