-- Storing articles and queueing tasks in batches: shared by import, backfill and the optional trigger on articles.

CREATE TABLE embedq_bulk_operations (
    id uuid PRIMARY KEY,
    operator text NOT NULL,
    host text NOT NULL,
    filter jsonb NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'done', 'stopped', 'rolled_back')),
    planned bigint NOT NULL,              -- tasks expected at the start
    queued bigint NOT NULL DEFAULT 0,
    cursor int NOT NULL DEFAULT -2147483648,  -- id of the last article examined
    runner uuid NOT NULL,                 -- the process that may continue it; one that takes it over writes its own id
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz
);
CREATE INDEX embedq_bulk_operations_recent_idx ON embedq_bulk_operations (started_at DESC);

-- The trigger on articles (013) calls embedq_enqueue with the rights of its owner, so that must search pg_temp last, too,
-- because any role can create tables there.
SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), 'pg_temp'), true);

-- Queues a task per article, unless a pending task will do the same at least as early (a new article, operation create,
-- has none); returns the articles queued. The caller holds the row locks of the articles. So a worker that has claimed
-- one of those tasks in the meantime cannot complete it with the old text (008), and the tasks of an article are in the
-- order of its changes.
--
-- The pending task is locked FOR KEY SHARE until the caller commits: claims (FOR UPDATE SKIP LOCKED) skip it, so that no
-- program reads the old text for it, and nobody waits. A pending task does not suffice if it failed before or is not due
-- (the new text deserves its own attempts, now), if it belongs to a bulk operation (whose rollback would remove it), or
-- while a delete is queued (which would remove what that task stored). Under an isolation level stricter than READ
-- COMMITTED, the tasks in the snapshot may already be gone, so a task is always queued.
CREATE FUNCTION embedq_enqueue(
    p_article int[], p_slug text[], p_operation text[], p_priority text, p_max_attempts int)
RETURNS SETOF int
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_spared int[];
    v_id uuid := embedq_uuid();
BEGIN
    IF NOT p_operation <@ ARRAY['create'] AND current_setting('transaction_isolation') = 'read committed' THEN
        -- Article by article, and in a form that rules out the indexes on the status (see embedq_claim), so that only
        -- tasks of these articles are read, whatever the statistics.
        SELECT array_agg(s.article_id) INTO v_spared
        FROM unnest(p_article, p_operation) AS w(article, operation)
        CROSS JOIN LATERAL (
            SELECT t.article_id FROM embedding_tasks t
            WHERE w.operation <> 'create'
              AND (t.article_id, t.status) BETWEEN (w.article, 'pending') AND (w.article, 'pending')
              AND t.attempts = 0 AND v_now - t.scheduled_at >= interval '0'
              AND (t.operation = 'delete') = (w.operation = 'delete')
              AND embedq_rank(t.priority) <= embedq_rank(p_priority)
              AND NOT coalesce(t.metadata ? 'bulkOperationId', false)
              AND (w.operation = 'delete' OR NOT EXISTS (
                   SELECT FROM embedding_tasks d
                   WHERE (d.article_id, d.status) BETWEEN (w.article, 'pending') AND (w.article, 'processing')
                     AND d.operation = 'delete' OFFSET 0))
            LIMIT 1 FOR KEY SHARE OF t SKIP LOCKED) AS s;
    END IF;
    RETURN QUERY
        INSERT INTO embedding_tasks (id, article_id, slug, operation, priority, status, attempts, max_attempts,
                                     created_at, scheduled_at)
        SELECT embedq_nth_uuid(v_id, w.place), w.article, w.slug, w.operation, p_priority, 'pending', 0,
               p_max_attempts, v_now, v_now
        FROM unnest(p_article, p_slug, p_operation) WITH ORDINALITY AS w(article, slug, operation, place)
        WHERE NOT EXISTS (SELECT FROM unnest(v_spared) AS s(article) WHERE s.article = w.article)
        RETURNING article_id;
END
$$;

-- Compares drafts of articles with the stored ones; null means that the draft does not state a value.
--
-- outcome    created, updated, unchanged: the result of storing it
-- operation  the task it needs: create, update, delete (it is excluded from embedding but has embeddings), or null
CREATE FUNCTION embedq_compare_articles(
    p_slug text[], p_title text[], p_content text[], p_folder text[], p_is_public boolean[], p_no_rag boolean[])
RETURNS TABLE (place int, article_id int, outcome text, operation text)
LANGUAGE sql STABLE SET search_path FROM CURRENT SET enable_seqscan = off AS $$
    SELECT d.place::int, a.id, o.outcome,
           CASE WHEN o.outcome = 'unchanged' THEN NULL
                WHEN coalesce(d.no_rag, a.no_rag, false) THEN
                    CASE WHEN EXISTS (SELECT FROM embeddings e WHERE e.article_id = a.id) THEN 'delete' END
                WHEN o.outcome = 'created' THEN 'create'
                WHEN (a.title, a.content) IS DISTINCT FROM (d.title, d.content) OR a.no_rag THEN 'update' END
    FROM unnest(p_slug, p_title, p_content, p_folder, p_is_public, p_no_rag) WITH ORDINALITY
         AS d(slug, title, content, folder, is_public, no_rag, place)
    LEFT JOIN articles a ON a.slug = d.slug
    CROSS JOIN LATERAL (
        SELECT CASE WHEN a.id IS NULL THEN 'created'
                    WHEN (a.title, a.content, a.folder, a.is_public, a.no_rag) IS DISTINCT FROM
                         (d.title, d.content, coalesce(d.folder, a.folder), coalesce(d.is_public, a.is_public),
                          coalesce(d.no_rag, a.no_rag)) THEN 'updated'
                    ELSE 'unchanged' END AS outcome) AS o
$$;

-- Stores drafts by slug and queues what must be embedded again, in one round trip; with p_dry_run, only reports. If
-- another program saves or deletes an article at the same time, this waits and compares again. Locks are taken in a fixed
-- order, new slugs first, then rows by id, so that two imports do not deadlock. For programs that take them in another
-- order, lock_timeout is shorter than deadlock_timeout, so that they are never the victim.
CREATE FUNCTION embedq_store_articles(
    p_slug text[], p_title text[], p_content text[], p_folder text[], p_is_public boolean[], p_no_rag boolean[],
    p_by text, p_priority text, p_max_attempts int, p_dry_run boolean)
RETURNS TABLE (place int, outcome text, queued boolean)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT SET enable_seqscan = off SET lock_timeout = '500ms' AS $$
#variable_conflict use_column
DECLARE
    v_new int[] := '{}';
    v_locked int[] := '{}';
    v_articles int[];     -- from here on by place
    v_outcomes text[];
    v_operations text[];
    v_queued int[];
BEGIN
    IF p_dry_run THEN
        RETURN QUERY SELECT c.place, c.outcome, c.operation IS NOT NULL
        FROM embedq_compare_articles(p_slug, p_title, p_content, p_folder, p_is_public, p_no_rag) c;
        RETURN;
    END IF;
    PERFORM set_config('embedq.no_trigger', 'on', true);  -- tasks are queued here

    LOOP
        -- Existing slugs are not attempted, because each attempt would use up an id.
        WITH made AS (
            INSERT INTO articles AS a (slug, title, content, folder, is_public, no_rag, created_at, updated_at,
                                       created_by, updated_by)
            SELECT d.slug, d.title, d.content, coalesce(d.folder, ''), coalesce(d.is_public, false),
                   coalesce(d.no_rag, false), now(), now(), p_by, p_by
            FROM unnest(p_slug, p_title, p_content, p_folder, p_is_public, p_no_rag)
                 AS d(slug, title, content, folder, is_public, no_rag)
            WHERE NOT EXISTS (SELECT FROM articles o WHERE o.slug = d.slug)
            ORDER BY d.slug
            ON CONFLICT (slug) DO NOTHING
            RETURNING a.id
        )
        SELECT v_new || array_agg(m.id) INTO v_new FROM made m;

        SELECT v_locked || array_agg(l.id) INTO v_locked
        FROM (SELECT a.id FROM articles a
              WHERE a.id = ANY (ARRAY(
                  SELECT c.article_id
                  FROM embedq_compare_articles(p_slug, p_title, p_content, p_folder, p_is_public, p_no_rag) c
                  WHERE c.outcome = 'updated'))
              ORDER BY a.id FOR NO KEY UPDATE) AS l;

        SELECT array_agg(c.article_id ORDER BY c.place), array_agg(c.outcome ORDER BY c.place),
               array_agg(c.operation ORDER BY c.place)
        INTO v_articles, v_outcomes, v_operations
        FROM embedq_compare_articles(p_slug, p_title, p_content, p_folder, p_is_public, p_no_rag) c;

        -- Repeat if an article was deleted, or was changed before it was locked.
        EXIT WHEN NOT EXISTS (
            SELECT FROM unnest(v_articles, v_outcomes) AS c(id, outcome)
            WHERE c.outcome = 'created' OR c.outcome = 'updated' AND c.id <> ALL (v_locked));
    END LOOP;

    SELECT array_agg(CASE WHEN c.id = ANY (v_new) THEN 'created' ELSE c.outcome END ORDER BY c.place),
           array_agg(CASE WHEN c.id <> ALL (v_new) THEN c.operation
                          WHEN c.no_rag IS NOT TRUE THEN 'create' END ORDER BY c.place)
    INTO v_outcomes, v_operations
    FROM unnest(v_articles, v_outcomes, v_operations, p_no_rag) WITH ORDINALITY
         AS c(id, outcome, operation, no_rag, place);

    UPDATE articles a
    SET title = d.title, content = d.content, folder = coalesce(d.folder, a.folder),
        is_public = coalesce(d.is_public, a.is_public), no_rag = coalesce(d.no_rag, a.no_rag),
        updated_at = now(), updated_by = p_by
    FROM unnest(v_articles, v_outcomes, p_title, p_content, p_folder, p_is_public, p_no_rag)
         AS d(id, outcome, title, content, folder, is_public, no_rag)
    WHERE a.id = d.id AND d.outcome = 'updated';

    SELECT array_agg(q) INTO v_queued
    FROM (SELECT array_agg(t.id) AS ids, array_agg(t.slug) AS slugs, array_agg(t.operation) AS operations
          FROM unnest(v_articles, p_slug, v_operations) AS t(id, slug, operation)
          WHERE t.operation IS NOT NULL) AS n
    CROSS JOIN LATERAL embedq_enqueue(n.ids, n.slugs, n.operations, p_priority, p_max_attempts) AS q;

    INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, metadata)
    SELECT embedq_uuid(), clock_timestamp(), 'info', 'bulk_operations', 'Articles imported',
           embedq_signature(p_by) || jsonb_build_object(
               'queued', coalesce(cardinality(v_queued), 0), 'priority', p_priority,
               'created', count(*) FILTER (WHERE o = 'created'), 'updated', count(*) FILTER (WHERE o = 'updated'))
    FROM unnest(v_outcomes) AS o WHERE o <> 'unchanged' HAVING count(*) > 0;

    PERFORM set_config('embedq.no_trigger', '', true);
    RETURN QUERY SELECT c.place::int, c.outcome, c.operation IS NOT NULL
    FROM unnest(v_outcomes, v_operations) WITH ORDINALITY AS c(outcome, operation, place);
END
$$;

-- What is wrong with the embeddings of the articles after an id, in the order of ids; returns p_limit rows unless the
-- table ends. Everything is looked up by index for this page only, so a page costs the same wherever it is.
--
-- category  no_rag   it is excluded from embedding but has embeddings
--           failed   its last task failed
--           missing  it has text but no embeddings, or none with a vector
--           stale    its embeddings are of an older text, or some lack a vector; for those of another program: they are
--                    older than the article's last update
--           model    its embeddings are from another model, or from an unknown one
--           null     nothing is wrong; also for a blank article without embeddings
-- waiting   a task that will fix it is pending or in progress, or its latest task belongs to p_operation
-- bytes     of its text; null for an article outside p_folder and its subfolders, or of which neither slug nor title is
--           like p_pattern: nothing else is looked up for it, and nothing is wrong
CREATE FUNCTION embedq_backfill_page(
    p_after int, p_limit int, p_model text, p_operation uuid, p_folder text DEFAULT '', p_pattern text DEFAULT NULL)
RETURNS TABLE (article_id int, slug text, category text, waiting boolean, bytes int)
LANGUAGE sql STABLE SET search_path FROM CURRENT
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
    WITH page AS MATERIALIZED (
        SELECT a.id, a.slug, a.title, a.content, a.no_rag, a.updated_at, f.fits, s.source, s.chunks,
               CASE WHEN s.source IS NOT NULL THEN s.source = embedq_source(a.title, a.slug, a.content) END AS current
        FROM (SELECT * FROM articles WHERE id > p_after ORDER BY id LIMIT p_limit) AS a
        CROSS JOIN LATERAL (
            SELECT embedq_is_within(a.folder, p_folder)
                   AND (p_pattern IS NULL OR a.slug ILIKE p_pattern OR a.title ILIKE p_pattern) AS fits) AS f
        LEFT JOIN embedq_articles s ON s.article_id = a.id AND f.fits
    ), judged AS MATERIALIZED (
        SELECT p.*, v.n, CASE
            WHEN p.fits IS NOT TRUE THEN NULL
            WHEN p.no_rag THEN CASE WHEN v.n > 0 THEN 'no_rag' END
            WHEN p.current AND p.chunks = v.n AND v.bare = 0 AND v.others = 0 THEN NULL
            WHEN v.n = v.bare AND p.content ~ E'\\S' THEN 'missing'
            WHEN v.n = 0 THEN 'blank'
            WHEN NOT p.current OR p.chunks <> v.n OR v.bare > 0 THEN 'stale'
            WHEN p.current IS NULL AND p.updated_at > v.newest THEN 'stale'
            WHEN v.others > 0 THEN 'model'
        END AS verdict
        -- The table has the column vector, vector_data or both; a column it has hides the one of `absent`.
        FROM page p CROSS JOIN (SELECT NULL::text AS vector, NULL::text AS vector_data) AS absent
        CROSS JOIN LATERAL (
            SELECT count(*) AS n, max(e.created_at) AS newest,
                   count(*) FILTER (WHERE vector IS NULL AND vector_data IS NULL) AS bare,
                   count(*) FILTER (WHERE e.model IS DISTINCT FROM p_model) AS others
            FROM embeddings e WHERE e.article_id = p.id AND p.fits) AS v
    )
    SELECT j.id, j.slug,
           CASE WHEN j.verdict <> 'no_rag' AND t.last = 'failed' THEN 'failed'
                WHEN j.verdict <> 'blank' THEN j.verdict END,
           coalesce(t.busy OR t.operation = p_operation::text, false),
           CASE WHEN j.fits THEN coalesce(octet_length(j.content), 0) END
    FROM judged j
    LEFT JOIN LATERAL (
        SELECT bool_or(t.status IN ('pending', 'processing')) AS busy,
               (array_agg(t.status ORDER BY t.created_at DESC, t.id DESC))[1] AS last,
               (array_agg(t.metadata ->> 'bulkOperationId' ORDER BY t.created_at DESC, t.id DESC))[1] AS operation
        FROM embedding_tasks t WHERE t.article_id = j.id AND j.verdict IS NOT NULL) AS t ON true
    ORDER BY j.id
$$;

-- Starts a bulk operation, or resumes one of the same filter that was stopped or whose runner has become silent. It
-- examines all articles again; embedq_backfill_page reports those it has queued as waiting.
--
-- outcome  started; resumed; busy: another runner has made progress within p_silent_ms, and continues
CREATE FUNCTION embedq_bulk_start(
    p_by text, p_filter jsonb, p_planned bigint, p_runner uuid, p_silent_ms bigint, p_resume_ms bigint)
RETURNS TABLE (outcome text, id uuid, operator text, host text, started_at timestamptz)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz;
    v_last embedq_bulk_operations;
    v_outcome text;
BEGIN
    LOCK TABLE embedq_bulk_operations IN SHARE ROW EXCLUSIVE MODE;  -- only one starts at a time; waits for a batch
    v_now := clock_timestamp();
    SELECT * INTO v_last FROM embedq_bulk_operations o ORDER BY o.started_at DESC LIMIT 1;
    IF v_last.state = 'running' AND v_last.updated_at > v_now - p_silent_ms * interval '1 millisecond' THEN
        v_outcome := 'busy';
    ELSIF v_last.state IN ('running', 'stopped') AND v_last.filter = p_filter
          AND v_last.updated_at > v_now - p_resume_ms * interval '1 millisecond' THEN
        v_outcome := 'resumed';
        UPDATE embedq_bulk_operations o
        SET state = 'running', runner = p_runner, cursor = -2147483648, planned = o.queued + p_planned,
            updated_at = v_now, finished_at = NULL
        WHERE o.id = v_last.id;
    ELSE
        v_outcome := 'started';
        UPDATE embedq_bulk_operations o SET state = 'stopped', finished_at = v_now WHERE o.state = 'running';
        INSERT INTO embedq_bulk_operations AS o (id, operator, host, filter, state, planned, runner)
        VALUES (embedq_uuid(), embedq_signature(p_by) ->> 'operator', embedq_signature(p_by) ->> 'host', p_filter,
                'running', p_planned, p_runner)
        RETURNING o.* INTO v_last;
    END IF;
    RETURN QUERY SELECT v_outcome, v_last.id, v_last.operator, v_last.host, v_last.started_at;
END
$$;

-- Queues the next page of a backfill and moves its cursor, in one transaction. Articles are locked first, which skips
-- those deleted or being deleted. Those excluded from embedding are checked again under a lock that prevents a change of
-- that, so that no delete is queued after the change.
--
-- state  running; done: this was the last page; anything else: this runner must stop, nothing was queued
CREATE FUNCTION embedq_backfill_batch(
    p_id uuid, p_runner uuid, p_limit int, p_model text, p_categories text[], p_priority text, p_max_attempts int,
    p_folder text, p_pattern text)
RETURNS TABLE (state text, scanned int, queued int)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    v_operation embedq_bulk_operations;
    v_now timestamptz;
    v_state text;
    v_last_id int;
    v_scanned int;
    v_queued int := 0;
    v_ids int[];
    v_slugs text[];
    v_categories text[];
    v_clear int[];
    v_held int[];
    v_id uuid := embedq_uuid();
BEGIN
    LOCK TABLE embedq_bulk_operations IN ROW EXCLUSIVE MODE;  -- so that embedq_bulk_start waits for all of it
    SELECT * INTO v_operation FROM embedq_bulk_operations o WHERE o.id = p_id FOR UPDATE;
    v_state := CASE WHEN v_operation.runner = p_runner THEN v_operation.state ELSE 'taken over' END;
    IF v_state <> 'running' THEN
        RETURN QUERY SELECT v_state, 0, 0;
        RETURN;
    END IF;

    SELECT count(*), max(p.article_id), array_agg(p.article_id) FILTER (WHERE p.wanted),
           array_agg(p.slug) FILTER (WHERE p.wanted), array_agg(p.category) FILTER (WHERE p.wanted),
           array_agg(p.article_id) FILTER (WHERE p.wanted AND p.category = 'no_rag')
    INTO v_scanned, v_last_id, v_ids, v_slugs, v_categories, v_clear
    FROM (SELECT *, NOT waiting AND category = ANY (p_categories) AS wanted
          FROM embedq_backfill_page(v_operation.cursor, p_limit, p_model, p_id, p_folder, p_pattern)) AS p;
    v_last_id := coalesce(v_last_id, v_operation.cursor);
    v_state := CASE WHEN v_scanned < p_limit THEN 'done' ELSE 'running' END;

    IF v_ids IS NOT NULL THEN
        SELECT array_agg(l.id) INTO v_held
        FROM (SELECT a.id FROM articles a WHERE a.id = ANY (v_clear) AND a.no_rag
              FOR NO KEY UPDATE SKIP LOCKED) AS l;
        SELECT v_held || array_agg(l.id) INTO v_held
        FROM (SELECT a.id FROM articles a WHERE a.id = ANY (v_ids) AND a.id <> ALL (coalesce(v_clear, '{}'))
              FOR KEY SHARE SKIP LOCKED) AS l;
        v_now := clock_timestamp();
        INSERT INTO embedding_tasks (id, article_id, slug, operation, priority, status, attempts, max_attempts,
                                     created_at, scheduled_at, metadata)
        SELECT embedq_nth_uuid(v_id, w.place), w.id, w.slug,
               CASE w.category WHEN 'no_rag' THEN 'delete' WHEN 'missing' THEN 'create' ELSE 'update' END,
               p_priority, 'pending', 0, p_max_attempts, v_now, v_now,
               jsonb_build_object('bulkOperationId', p_id, 'reason', w.category)
        FROM unnest(v_ids, v_slugs, v_categories) WITH ORDINALITY AS w(id, slug, category, place)
        WHERE EXISTS (SELECT FROM unnest(v_held) AS h(id) WHERE h.id = w.id) ORDER BY w.place;
        GET DIAGNOSTICS v_queued = ROW_COUNT;
        INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, operation_id, metadata)
        SELECT embedq_uuid(), v_now, 'info', 'bulk_operations', 'Backfill: tasks queued', p_id::text,
               jsonb_build_object('operator', v_operation.operator, 'host', v_operation.host,
                                  'filter', v_operation.filter, 'count', v_queued, 'up_to_article', v_last_id)
        WHERE v_queued > 0;
    END IF;

    UPDATE embedq_bulk_operations o
    SET state = v_state, cursor = v_last_id, queued = o.queued + v_queued, updated_at = clock_timestamp(),
        finished_at = CASE WHEN v_state = 'done' THEN clock_timestamp() END
    WHERE o.id = p_id;
    RETURN QUERY SELECT v_state, v_scanned, v_queued;
END
$$;

-- Removes at most p_limit tasks of a bulk operation that are still pending, and ends the operation; returns how many. If
-- fewer than p_limit, that was all, except for tasks being claimed at this moment.
CREATE FUNCTION embedq_bulk_rollback(p_id uuid, p_limit int, p_by text) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    v_removed int;
BEGIN
    UPDATE embedq_bulk_operations
    SET state = 'rolled_back', finished_at = clock_timestamp(), updated_at = clock_timestamp()
    WHERE id = p_id AND state <> 'rolled_back';
    DELETE FROM embedding_tasks t USING (
        SELECT o.id FROM embedding_tasks o
        WHERE o.metadata ? 'bulkOperationId' AND o.metadata ->> 'bulkOperationId' = p_id::text
          AND o.status = 'pending'
        LIMIT p_limit FOR UPDATE SKIP LOCKED) AS gone
    WHERE t.id = gone.id;
    GET DIAGNOSTICS v_removed = ROW_COUNT;
    INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, operation_id, metadata)
    SELECT embedq_uuid(), clock_timestamp(), 'info', 'bulk_operations', 'Bulk operation taken back', p_id::text,
           embedq_signature(p_by) || jsonb_build_object('count', v_removed)
    WHERE v_removed > 0;
    RETURN v_removed;
END
$$;
