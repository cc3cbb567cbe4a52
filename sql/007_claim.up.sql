-- Claim: due tasks in order, at most one per article at a time. One round trip, no sort, the same cost at any size.

-- Whether requests to this provider are held back: breaker open, or cooling down after a 429.
CREATE FUNCTION embedq_provider_held(p_provider text) RETURNS boolean
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT EXISTS (
        SELECT FROM embedq_providers
        WHERE key = p_provider AND (state = 'open' OR state = 'cooling' AND retry_at > clock_timestamp()))
$$;

-- Whether an article is in one of these folders or a subfolder.
CREATE FUNCTION embedq_in_folders(p_article int, p_folders text[]) RETURNS boolean
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT EXISTS (
        SELECT FROM articles a, unnest(p_folders) AS f(folder)
        WHERE a.id = p_article AND embedq_is_within(a.folder, f.folder))
$$;

-- Hashes of an article's chunks whose stored vectors of this model can be reused.
CREATE FUNCTION embedq_kept_hashes(p_article int, p_model text) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_attribute
               WHERE attrelid = 'embeddings'::regclass AND attname = 'vector' AND NOT attisdropped) THEN
        RETURN ARRAY(SELECT e.content_hash::text FROM embeddings e WHERE e.article_id = p_article
                     AND e.model = p_model AND e.content_hash IS NOT NULL AND e.vector IS NOT NULL);
    END IF;
    RETURN ARRAY(SELECT e.content_hash::text FROM embeddings e WHERE e.article_id = p_article
                 AND e.model = p_model AND e.content_hash IS NOT NULL AND e.vector_data IS NOT NULL);
END
$$;

-- Each task is returned with the current text of its article: the claiming statement's snapshot is taken after the
-- timestamp of the claim.
-- p_model: model whose vectors can be reused.
-- p_priorities, p_folders: what this worker processes; null for everything. A folder includes its subfolders.
-- p_after_due, p_after_id: by priority, look only at tasks from this position on: a hint from the worker, to skip the
-- dead index entries before the last task it claimed.
-- p_deletes_only: claim nothing for which a provider is needed, as while its breaker holds requests back.
-- The planner settings force index scans, because the statistics of a table that changes this fast are unreliable. They
-- can also mislead: an index on pending tasks may have been empty when it was analyzed, so that reading all of it for
-- one row looks as cheap as a lookup. So here and below, rows known by id or article are selected in forms that rule out
-- such an index: = ANY, LATERAL or EXISTS (... OFFSET 0), and status IN ('pending', ''). The open tasks of an article are
-- selected by comparing the pair (article_id, status), which rules out another program's index on the status as well.
-- Then one plan fits all parameters; planning each claim would be a third of the cost of a task.
CREATE FUNCTION embedq_claim(
    p_worker uuid, p_provider text, p_model text, p_limit int, p_priorities text[], p_folders text[],
    p_after_due timestamptz[] DEFAULT NULL, p_after_id uuid[] DEFAULT NULL, p_deletes_only boolean DEFAULT false)
RETURNS TABLE (
    id uuid, article_id int, operation text, priority text, attempts int,
    claim_token bigint, claimed_at timestamptz, scheduled_at timestamptz,
    article int, title text, slug text, content text, no_rag boolean, source text, hashes text[])
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_ids uuid[];
    v_articles int[];
    v_crashes int[];
    v_now timestamptz;
    v_claimed embedding_tasks.processed_at%TYPE;  -- another program's column may round, and claimed_at must be equal
    v_id uuid := embedq_uuid();
    v_first CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    v_first_attempt jsonb;
    v_blocked boolean;
    v_held boolean;
BEGIN
    -- Operators' orders (an UPDATE of embedding_worker_status in psql is one too, by the trigger of 014) and
    -- embedq_provider_held in one statement with a cached plan. A worker that holds a suspect (see 2) claims nothing else.
    SELECT EXISTS (SELECT FROM embedq_control WHERE stopped_at IS NOT NULL OR paused_at IS NOT NULL)
           OR EXISTS (SELECT FROM (SELECT t.status, t.claimed_at, t.processed_at FROM embedding_tasks t
                                   WHERE t.crash_count > 0 AND t.worker_id = p_worker OFFSET 0) AS suspect
                      WHERE suspect.status = 'processing' AND suspect.claimed_at = suspect.processed_at),
           p_deletes_only
           OR EXISTS (SELECT FROM embedq_providers
                      WHERE key = p_provider AND (state = 'open' OR state = 'cooling' AND retry_at > clock_timestamp()))
    INTO v_blocked, v_held;
    IF v_blocked THEN
        RETURN;
    END IF;

    -- 1. Lock candidates; a lower priority is read only if the higher ones do not fill the batch.
    IF v_held THEN
        SELECT array_agg(c.id), array_agg(c.article_id), array_agg(c.crashes) INTO v_ids, v_articles, v_crashes
        FROM (SELECT t.id, t.article_id, coalesce(t.crash_count, 0)::int AS crashes FROM embedding_tasks t
              WHERE t.status = 'pending' AND t.operation = 'delete' AND t.scheduled_at <= now()
                AND (p_priorities IS NULL OR t.priority = ANY (p_priorities))
                AND (p_folders IS NULL OR embedq_in_folders(t.article_id, p_folders))
                AND NOT EXISTS (SELECT FROM embedding_tasks b
                                WHERE b.article_id = t.article_id AND b.status = 'processing' OFFSET 0)
              ORDER BY t.scheduled_at, t.id LIMIT p_limit FOR UPDATE OF t SKIP LOCKED) AS c;
    ELSE
        SELECT array_agg(c.id), array_agg(c.article_id), array_agg(c.crashes) INTO v_ids, v_articles, v_crashes
        FROM (SELECT due.* FROM (VALUES (0, 'high'), (1, 'normal'), (2, 'low')) AS r(rank, priority)
              CROSS JOIN LATERAL (
                  SELECT t.id, t.article_id, coalesce(t.crash_count, 0)::int AS crashes FROM embedding_tasks t
                  WHERE t.status = 'pending' AND embedq_rank(t.priority) = r.rank AND t.scheduled_at <= now()
                    AND (t.scheduled_at, t.id) >= (coalesce(p_after_due[r.rank + 1], '-infinity'),
                                                   coalesce(p_after_id[r.rank + 1], v_first))
                    AND (p_priorities IS NULL OR r.priority = ANY (p_priorities))
                    AND (p_folders IS NULL OR embedq_in_folders(t.article_id, p_folders))
                    AND NOT EXISTS (SELECT FROM embedding_tasks b
                                    WHERE b.article_id = t.article_id AND b.status = 'processing' OFFSET 0)
                  ORDER BY t.scheduled_at, t.id LIMIT p_limit FOR UPDATE OF t SKIP LOCKED) AS due
              LIMIT p_limit) AS c;
    END IF;
    IF v_ids IS NULL THEN
        RETURN;
    END IF;

    -- 2. A suspect, a task that was held by a worker that died, is claimed alone, and by a worker that holds nothing
    --    else: if it was the cause, no other task is affected. A worker that still holds tasks finishes those first.
    IF v_crashes[1] > 0 THEN
        IF EXISTS (SELECT FROM embedding_tasks t
                   WHERE t.status = 'processing' AND t.worker_id = p_worker AND t.claimed_at = t.processed_at) THEN
            RETURN;
        END IF;
        v_ids := v_ids[1:1];
    END IF;

    -- 3. One task per article, and only under an advisory lock for the article: the next session that gets the lock
    --    sees our task as processing, because the update below uses a snapshot taken after the lock. A single candidate,
    --    as on an idle queue, needs no statement for that.
    IF cardinality(v_ids) = 1 THEN
        IF v_articles[1] IS NOT NULL AND NOT pg_try_advisory_xact_lock(1701667442, v_articles[1]) THEN
            RETURN;
        END IF;
    ELSE
        SELECT array_agg(c.id ORDER BY c.place) INTO v_ids
        FROM (SELECT DISTINCT ON (u.article, CASE WHEN u.article IS NULL THEN u.place END) u.id, u.article, u.place
              FROM unnest(v_ids, v_articles, v_crashes) WITH ORDINALITY AS u(id, article, crashes, place)
              WHERE u.crashes <= 0  -- another program may write anything
              ORDER BY u.article, CASE WHEN u.article IS NULL THEN u.place END, u.place) AS c
        WHERE c.article IS NULL OR pg_try_advisory_xact_lock(1701667442, c.article);
        -- As a rule the same for all, and building it for each would be 2 % of a task.
        v_first_attempt := jsonb_build_object('worker', p_worker, 'attempt', 1);
    END IF;

    -- A claim need not wait for the WAL flush: if a server crash loses it, along with its audit row, it never happened.
    -- Anything that depends on it is flushed after it, and so together with it. Its fencing token includes the
    -- timestamp, so that a later claim cannot have the same one.
    PERFORM set_config('embedq.quiet', 'on', true), set_config('synchronous_commit', 'off', true);
    v_now := clock_timestamp();
    v_claimed := v_now;
    RETURN QUERY
        WITH claimed AS (
            UPDATE embedding_tasks t
            SET status = 'processing', processed_at = v_claimed, completed_at = NULL,
                worker_id = p_worker, claimed_at = v_claimed,
                claim_token = CASE WHEN t.claim_token < 9223372036854775807 THEN t.claim_token + 1 ELSE 1 END
            WHERE t.id = ANY (v_ids)  -- locked above, so still pending
              AND NOT EXISTS (SELECT FROM embedding_tasks b
                              WHERE b.article_id = t.article_id AND b.status = 'processing' OFFSET 0)
            RETURNING t.id, t.article_id, t.operation, t.priority, t.attempts, t.claim_token, t.claimed_at, t.scheduled_at
        ), logged AS (
            INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, task_id, article_id, metadata)
            SELECT embedq_nth_uuid(v_id, row_number() OVER ()), v_now, 'debug', 'task_lifecycle', 'Task claimed', c.id,
                   c.article_id,
                   coalesce(CASE WHEN c.attempts = 0 THEN v_first_attempt END,
                            jsonb_build_object('worker', p_worker, 'attempt', embedq_one_more(c.attempts)))
            FROM claimed c
        )
        SELECT c.id, c.article_id, coalesce(c.operation, '')::text, coalesce(c.priority, '')::text, coalesce(c.attempts, 0),
               c.claim_token, c.claimed_at, c.scheduled_at,
               a.id, coalesce(a.title, '')::text, coalesce(a.slug, '')::text, coalesce(a.content, '')::text,
               coalesce(a.no_rag, false), embedq_source(a.title, a.slug, a.content),
               CASE WHEN EXISTS (SELECT FROM embeddings e WHERE e.article_id = a.id OFFSET 0)
                    THEN embedq_kept_hashes(a.id, p_model) ELSE '{}' END
        FROM claimed c LEFT JOIN LATERAL (
            SELECT id, title, slug, content, no_rag FROM articles WHERE id = c.article_id OFFSET 0) AS a ON true
        ORDER BY embedq_rank(c.priority), c.scheduled_at, c.id;
END
$$;
