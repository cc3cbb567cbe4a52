-- The circuit breaker of each provider, shared by all workers that use it.
--
-- closed: requests are sent. cooling: after a 429, none until retry_at. open: the provider is down or misconfigured;
-- tasks that need it are not claimed, and after retry_at, or when an operator requests it, one worker at a time probes.

-- Records a failure of the provider (not of a text); returns the milliseconds until its state ends or it is probed.
-- p_kind: unavailable, rate_limited, misconfigured. p_wait_ms: the wait requested with rate_limited, or null.
-- Unavailable opens the breaker after p_threshold consecutive failures; the first probe comes after 5 s, later ones with
-- exponential backoff up to 5 minutes. While requests are held back, only failed probes (p_probe) count: requests that
-- were already in flight provide no new information.
CREATE FUNCTION embedq_provider_failed(
    p_key text, p_kind text, p_reason text, p_advice text, p_wait_ms bigint, p_threshold int,
    p_probe boolean DEFAULT false)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_old embedq_providers;
    v_state text;
    v_failures int;
    v_wait bigint;
BEGIN
    INSERT INTO embedq_providers (key, state) VALUES (p_key, 'closed') ON CONFLICT (key) DO NOTHING;
    SELECT * INTO v_old FROM embedq_providers WHERE key = p_key FOR UPDATE;
    -- The lease of this probe is over: an operator has requested a new one, and this one may have begun before the fix.
    IF p_probe AND v_old.state = 'open' AND v_old.retry_at <= v_now THEN
        RETURN 0;
    END IF;
    v_failures := v_old.failures
        + (p_probe OR v_old.state = 'closed' OR v_old.state = 'cooling' AND v_old.retry_at <= v_now)::int;
    v_state := CASE WHEN p_kind = 'rate_limited' AND v_old.state <> 'open' THEN 'cooling'
                    WHEN p_kind = 'misconfigured' OR v_failures >= p_threshold THEN 'open'
                    ELSE v_old.state END;
    v_wait := CASE
        WHEN p_kind = 'rate_limited' THEN coalesce(p_wait_ms, 1000 * least(2 ^ least(v_failures, 10), 60))
        WHEN v_state = 'open' THEN least(5000 * 2 ^ least(greatest(v_failures - p_threshold, 0), 6), 300000)
        ELSE 0 END;
    UPDATE embedq_providers
    SET state = v_state, kind = p_kind, reason = p_reason, advice = p_advice, failures = v_failures,
        opened_at = CASE WHEN v_state = 'open' THEN coalesce(v_old.opened_at, v_now) END,
        retry_at = CASE WHEN v_state = 'closed' THEN NULL
                        WHEN v_old.state = 'open' AND NOT p_probe THEN v_old.retry_at
                        ELSE greatest(CASE WHEN v_state = 'cooling' THEN v_old.retry_at END,
                                      v_now + v_wait * interval '1 millisecond') END,
        probing_since = CASE WHEN NOT p_probe THEN v_old.probing_since END,
        updated_at = v_now
    WHERE key = p_key;
    IF v_state <> v_old.state THEN
        INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, metadata, error)
        VALUES (embedq_uuid(), v_now, CASE WHEN v_state = 'open' THEN 'error' ELSE 'warn' END, 'error_handling',
                CASE WHEN v_state = 'open' THEN 'Provider held: claiming pauses' ELSE 'Provider asks for patience' END,
                jsonb_build_object('provider', p_key, 'kind', p_kind, 'advice', p_advice, 'wait_ms', v_wait), p_reason);
    END IF;
    -- Also when cooling begins anew, so that workers know when it ends.
    IF v_state <> v_old.state OR v_state = 'cooling' AND v_old.retry_at <= v_now THEN
        PERFORM embedq_notify('embedq_work', 'provider');
    END IF;
    IF p_probe OR v_state <> v_old.state THEN
        PERFORM embedq_notify('embedq_changes', 'provider');
    END IF;
    RETURN v_wait;
END
$$;

-- Records a success; true if it closed the breaker.
CREATE FUNCTION embedq_provider_works(p_key text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    v_opened timestamptz;
    v_state text;
BEGIN
    SELECT p.state, p.opened_at INTO v_state, v_opened FROM embedq_providers p
    WHERE p.key = p_key AND (p.state <> 'closed' OR p.failures > 0) FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE embedq_providers
    SET state = 'closed', kind = '', reason = '', advice = '', failures = 0, opened_at = NULL, retry_at = NULL,
        probing_since = NULL, updated_at = clock_timestamp()
    WHERE key = p_key;
    IF v_state = 'closed' THEN
        RETURN false;
    END IF;
    INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, metadata)
    VALUES (embedq_uuid(), clock_timestamp(), 'info', 'error_handling', 'Provider works again',
            jsonb_build_object('provider', p_key, 'down_ms',
                               round(extract(epoch FROM clock_timestamp() - v_opened)::numeric * 1000)));
    PERFORM embedq_notify('embedq_work', 'provider');
    PERFORM embedq_notify('embedq_changes', 'provider');
    RETURN true;
END
$$;

-- The state of the breaker for a worker: whether requests are held back, why, for how long, and whether this caller must
-- probe now. A caller told to probe has a lease of p_lease_ms before another one is told.
CREATE FUNCTION embedq_provider_look(p_key text, p_lease_ms bigint)
RETURNS TABLE (held boolean, state text, reason text, advice text, wait_ms bigint, probe boolean)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    v_probe boolean;
BEGIN
    -- The server's clock was set back: nobody should wait until it gets there again.
    UPDATE embedq_providers p SET retry_at = clock_timestamp(), updated_at = clock_timestamp()
    WHERE p.key = p_key AND p.updated_at > clock_timestamp();
    UPDATE embedq_providers p
    SET retry_at = clock_timestamp() + p_lease_ms * interval '1 millisecond', probing_since = clock_timestamp()
    WHERE p.key = p_key AND p.state = 'open' AND p.retry_at <= clock_timestamp();
    v_probe := FOUND;
    IF v_probe THEN
        PERFORM embedq_notify('embedq_changes', 'provider');
    END IF;
    RETURN QUERY
    SELECT embedq_provider_held(p_key), p.state, p.reason, p.advice,
           greatest((extract(epoch FROM p.retry_at - clock_timestamp()) * 1000)::bigint, 0), v_probe
    FROM embedq_providers p WHERE p.key = p_key;
END
$$;

-- Requests an immediate probe of a provider whose requests are held back, or of all of them if p_key is null; the backoff
-- of later probes starts again. Returns those providers and the time of the request; whatever is recorded later is the
-- result.
CREATE FUNCTION embedq_provider_ask(p_key text, p_by text) RETURNS TABLE (key text, asked_at timestamptz)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
    v_keys text[];
BEGIN
    WITH held AS (
        SELECT p.key FROM embedq_providers p
        WHERE p.key = coalesce(p_key, p.key) AND embedq_provider_held(p.key)
        ORDER BY p.key FOR UPDATE
    ), asked AS (
        UPDATE embedq_providers p SET retry_at = v_now, failures = 0 FROM held h WHERE p.key = h.key RETURNING p.key
    )
    SELECT array_agg(a.key ORDER BY a.key) INTO v_keys FROM asked a;
    IF v_keys IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, metadata)
    VALUES (embedq_uuid(), clock_timestamp(), 'info', 'queue_operations', 'Operator: probe',
            embedq_signature(p_by) || jsonb_build_object('providers', v_keys));
    PERFORM embedq_notify('embedq_work', 'provider');
    PERFORM embedq_notify('embedq_changes', 'provider');
    RETURN QUERY SELECT k, v_now FROM unnest(v_keys) AS k;
END
$$;
