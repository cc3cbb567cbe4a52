-- What operators ask when a worker died: which one, when, where, and what it held.

-- The running workers, and those that died lately, among all that ended within the retention: a worker that crashes every
-- few seconds leaves thousands of rows a day. A heartbeat changes neither column, so it still writes no index.
CREATE INDEX embedq_workers_state_idx ON embedq_workers (state, stopped_at);

-- Whoever declares a worker dead; its last heartbeat may have been before its last claims. As when it stops, the last one
-- sets the status row to not running.
CREATE FUNCTION embedq_worker_died() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_quiet text := current_setting('embedq.quiet', true);  -- not a SET of the function: for that, 12 wants a superuser
BEGIN
    SELECT count(*) INTO NEW.in_hand FROM embedding_tasks t
    WHERE t.status = 'processing' AND t.worker_id = NEW.id AND t.claimed_at = t.processed_at;
    IF NOT embedq_is_served(NEW.id) THEN
        IF embedq_lock_status() THEN  -- after all workers, the order in which a heartbeat takes them
            PERFORM set_config('embedq.quiet', 'on', true);
            UPDATE embedding_worker_status SET is_running = false WHERE id = 1;
            PERFORM set_config('embedq.quiet', coalesce(v_quiet, ''), true);  -- who called this may not be quiet
        END IF;
    END IF;
    INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, metadata)
    VALUES (embedq_uuid(), clock_timestamp(), 'warn', 'worker_status', 'Worker died',
            jsonb_build_object('worker', NEW.id, 'host', NEW.host, 'pid', NEW.pid, 'held', NEW.in_hand,
                               'reason', NEW.note));
    PERFORM embedq_notify('embedq_changes', 'workers');
    RETURN NEW;
END
$$;

CREATE TRIGGER embedq_worker_died BEFORE UPDATE OF state ON embedq_workers FOR EACH ROW
    WHEN (NEW.state = 'dead' AND OLD.state <> 'dead') EXECUTE FUNCTION embedq_worker_died();
