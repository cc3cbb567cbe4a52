-- Operators' orders to a single worker, on any host.

-- Records an operator's order to one running worker, and wakes it: a concurrency, to exit (p_stop: 'graceful', 'force'),
-- or to claim nothing (p_pause) until this is lifted (false) or all workers are told to resume. False if there is no such
-- worker, or if it is already exiting.
CREATE FUNCTION embedq_worker_order(p_worker uuid, p_concurrency int, p_stop text, p_pause boolean, p_by text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    v_place text;
BEGIN
    UPDATE embedq_workers w
    SET concurrency_wanted = coalesce(p_concurrency, w.concurrency_wanted),
        stop_requested = CASE WHEN w.stop_requested = 'force' THEN 'force' ELSE coalesce(p_stop, w.stop_requested) END,
        paused_at = CASE WHEN p_pause IS NULL THEN w.paused_at WHEN p_pause THEN clock_timestamp() END,
        paused_by = CASE WHEN p_pause IS NULL THEN w.paused_by WHEN p_pause THEN p_by END
    WHERE w.id = p_worker AND (w.state = 'running' OR w.state = 'stopping' AND p_stop IS NOT NULL)
    RETURNING w.host || '/' || w.pid INTO v_place;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, metadata)
    VALUES (embedq_uuid(), clock_timestamp(), 'info', 'queue_operations',
            CASE WHEN p_stop IS NOT NULL THEN 'Operator: a worker asked to end'
                 WHEN p_pause THEN 'Operator: a worker paused'
                 WHEN NOT p_pause THEN 'Operator: a worker resumed'
                 ELSE 'Operator: concurrency of a worker set' END,
            embedq_signature(p_by) || jsonb_strip_nulls(jsonb_build_object(
                'worker', p_worker, 'place', v_place, 'concurrency', p_concurrency, 'stop', p_stop)));
    PERFORM embedq_notify('embedq_work', 'control');
    PERFORM embedq_notify('embedq_changes', 'workers');
    RETURN true;
END
$$;
