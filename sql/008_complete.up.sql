-- Completion: stores the embeddings of articles and completes their tasks, in one transaction and one round trip.
--
-- Locks: for each task first its article, then the task itself, the order in which deleting an article takes them. Rows
-- locked by other sessions are skipped and reported as 'contended'.
--
-- Storing many chunks may take minutes, with an index of vectors. So that no save waits for that, only the keys of the
-- articles are locked meanwhile, against deletion. The locks that keep their texts as they are come last; if one was saved
-- since, everything is rolled back (serialization_failure), to be tried again. Only these locks are waited for, as briefly
-- as lock_timeout says.
--
-- Per task:  p_kind    'store' (vectors follow), 'skip' (the article is no_rag), 'delete' (the operation of the task)
--            p_source  embedq_source() of the text that was read
--            p_chunks  number of chunks, p_note a warning for the audit log or null
-- Per chunk: c_heading the heading path joined by U+001F; with c_vector null, the stored vector of the same hash is kept
-- Outcomes:  stored, skipped, removed: the task is completed
--            gone       the article does not exist: the task is completed
--            changed    the article or the task has changed since it was read: the task is pending again, no attempt is
--                       charged
--            lost       the claim is no longer ours: nothing was written
--            contended  another session has locked the article, the task, or an older task that would undo this one:
--                       nothing was written, try again
--            coalesced  another pending task of one of the articles: completed as well
CREATE FUNCTION embedq_complete(
    p_worker uuid, p_model text,
    p_task uuid[], p_token bigint[], p_claimed_at timestamptz[], p_article int[],
    p_kind text[], p_source text[], p_chunks int[], p_note text[],
    c_article int[], c_index int[], c_chunk_id text[], c_heading text[], c_text text[], c_hash text[],
    c_vector anyarray)
RETURNS TABLE (task_id uuid, outcome text)
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET enable_seqscan = off SET jit = off
SET plan_cache_mode = force_generic_plan  -- for a batch of one, planning would be half of the cost
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
    v_outcome text[];
    v_spared uuid[];
    v_others bigint[];  -- by task, how many were completed with it
    v_store int[];
    v_clear int[];
    v_bare int[];
    v_many CONSTANT boolean := cardinality(c_index) > 100;  -- _CHUNKS_TOGETHER of a worker, which sends more only of one article
    v_free int[];
    v_made timestamptz[];
    v_shared int[];  -- articles with other open tasks: rare, so only these are looked at more closely
    v_older int;  -- number of older tasks that would undo one of these
    v_id uuid := embedq_uuid();
BEGIN
    PERFORM set_config('embedq.quiet', 'on', true);

    -- With many chunks, too, articles being saved at this moment are contended. The rollback releases the locks.
    IF v_many THEN
        BEGIN
            SELECT array_agg(l.id) INTO v_free
            FROM (SELECT a.id FROM articles a WHERE a.id = ANY (p_article) FOR NO KEY UPDATE SKIP LOCKED) AS l;
            RAISE SQLSTATE 'EQ000';
        EXCEPTION WHEN SQLSTATE 'EQ000' THEN
        END;
    END IF;

    -- Of a locked row, its latest version is read, even if that is newer than the snapshot of this statement. Only for
    -- a row that could not be locked the snapshot decides, and then nothing is written. (A lock of the key alone may read
    -- an older version of an article: then the check at the end finds that.)
    -- Two statuses although one would do: no partial index matches that, so the rows are found by id, whatever the
    -- statistics of a queue that changes so fast. 011 does the same.
    SELECT array_agg(
        CASE
            WHEN t.id IS NULL THEN
                CASE WHEN EXISTS (SELECT FROM embedding_tasks n
                                  WHERE n.id = p.id AND n.status IN ('processing', '') AND n.worker_id = p_worker
                                    AND n.claim_token = p.token AND n.processed_at = p.claimed_at OFFSET 0)
                     THEN 'contended' ELSE 'lost' END
            WHEN t.article_id IS DISTINCT FROM p.article THEN 'changed'
            WHEN a.source IS NULL THEN
                CASE WHEN EXISTS (SELECT FROM articles n WHERE n.id = p.article OFFSET 0)
                     THEN 'contended' ELSE 'gone' END
            WHEN p.kind = 'delete' AND t.operation = 'delete' THEN 'removed'
            WHEN a.no_rag THEN 'skipped'
            WHEN p.kind <> 'store' OR t.operation = 'delete' OR p.source IS DISTINCT FROM a.source THEN 'changed'
            ELSE 'stored'
        END ORDER BY p.place), array_agg(t.created_at ORDER BY p.place),
        array_agg(p.article) FILTER (WHERE t.shared)
    INTO v_outcome, v_made, v_shared
    FROM unnest(p_task, p_token, p_claimed_at, p_article, p_kind, p_source) WITH ORDINALITY
         AS p(id, token, claimed_at, article, kind, source, place)
    LEFT JOIN LATERAL (
        SELECT l.no_rag, CASE p.kind WHEN 'store' THEN embedq_source(l.title, l.slug, l.content) ELSE '' END AS source
        FROM articles l WHERE NOT v_many AND l.id = p.article FOR NO KEY UPDATE SKIP LOCKED) AS few ON true
    LEFT JOIN LATERAL (
        SELECT l.no_rag, CASE p.kind WHEN 'store' THEN embedq_source(l.title, l.slug, l.content) ELSE '' END AS source
        FROM articles l WHERE v_many AND l.id = p.article AND l.id = ANY (v_free) FOR KEY SHARE SKIP LOCKED) AS many ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(few.source, many.source) AS source, coalesce(few.no_rag, many.no_rag) AS no_rag) AS a
    LEFT JOIN LATERAL (
        SELECT l.id, l.operation, l.article_id, l.created_at,
               EXISTS (SELECT FROM embedding_tasks n
                       WHERE (n.article_id, n.status) BETWEEN (l.article_id, 'pending') AND (l.article_id, 'processing')
                         AND n.id <> l.id OFFSET 0) AS shared
        FROM embedding_tasks l
        WHERE l.id = p.id AND l.status IN ('processing', '') AND l.worker_id = p_worker AND l.claim_token = p.token
          AND l.claimed_at = p.claimed_at AND l.processed_at = p.claimed_at
        FOR UPDATE SKIP LOCKED) AS t ON true;

    -- An article that row-level security hides from this role is not gone; reporting it as gone would lose its task.
    IF 'gone' = ANY (v_outcome) AND row_security_active('articles') AND EXISTS (
        SELECT FROM unnest(p_article, v_outcome) AS o(article, outcome)
        WHERE o.outcome = 'gone' AND o.article IS NOT NULL)
    THEN
        RAISE insufficient_privilege USING MESSAGE = format(
            'row-level security on the table articles hides the article from the role %s', current_user);
    END IF;

    IF v_shared IS NOT NULL THEN
        SELECT h.outcome, h.older INTO v_outcome, v_older
        FROM embedq_hold_for_older(p_task, p_article, v_made, v_outcome, v_shared) AS h;
    END IF;

    -- A chunk sent without a vector needs a stored one of the same text and model, which may be gone by now.
    IF pg_typeof(c_vector) IN ('jsonb[]'::regtype) THEN
        SELECT array_agg(c.article) INTO v_bare
        FROM unnest(c_article, c_hash, c_vector) AS c(article, hash, vector)
        WHERE c.vector IS NULL
          AND NOT EXISTS (SELECT FROM embeddings e WHERE e.article_id = c.article AND e.content_hash = c.hash
                          AND e.model = p_model AND e.vector_data IS NOT NULL OFFSET 0);
    ELSE
        SELECT array_agg(c.article) INTO v_bare
        FROM unnest(c_article, c_hash, c_vector) AS c(article, hash, vector)
        WHERE c.vector IS NULL
          AND NOT EXISTS (SELECT FROM embeddings e WHERE e.article_id = c.article AND e.content_hash = c.hash
                          AND e.model = p_model AND e.vector IS NOT NULL OFFSET 0);
    END IF;
    IF v_bare IS NOT NULL THEN
        SELECT array_agg(CASE WHEN o.outcome = 'stored' AND o.article = ANY (v_bare) THEN 'changed' ELSE o.outcome END
                         ORDER BY o.place) INTO v_outcome
        FROM unnest(p_article, v_outcome) WITH ORDINALITY AS o(article, outcome, place);
    END IF;

    SELECT array_agg(o.article) FILTER (WHERE o.outcome = 'stored'),
           array_agg(o.article) FILTER (WHERE o.outcome IN ('skipped', 'removed'))
    INTO v_store, v_clear
    FROM unnest(p_article, v_outcome) AS o(article, outcome);

    IF v_clear IS NOT NULL THEN
        DELETE FROM embeddings e WHERE e.article_id = ANY (v_clear);
        DELETE FROM embedq_articles s WHERE s.article_id = ANY (v_clear);
    END IF;

    IF v_store IS NOT NULL THEN
        PERFORM embedq_store_chunks(v_now, p_model, p_article, p_source, p_chunks, v_outcome, v_store,
                                    c_article, c_index, c_chunk_id, c_heading, c_text, c_hash, c_vector);
    END IF;
    IF v_many THEN
        PERFORM embedq_require_same_texts(p_article, p_source, v_outcome);
    END IF;
    IF v_shared IS NOT NULL THEN
        SELECT c.spared, c.others INTO v_spared, v_others
        FROM embedq_complete_others(p_worker, v_now, p_task, p_article, v_made, v_outcome, v_shared, v_older) AS c;
    END IF;

    WITH done AS (
        UPDATE embedding_tasks t
        SET status = CASE WHEN o.outcome = 'changed' THEN 'pending' ELSE 'completed' END,
            processed_at = CASE WHEN o.outcome = 'changed' THEN NULL ELSE t.processed_at END,
            completed_at = CASE WHEN o.outcome = 'changed' THEN NULL ELSE v_now END,
            attempts = CASE WHEN o.outcome = 'changed' THEN t.attempts ELSE embedq_one_more(t.attempts) END,
            crash_count = NULL, error_message = NULL
        FROM unnest(p_task, v_outcome, p_chunks, p_note, v_others) WITH ORDINALITY
             AS o(id, outcome, chunks, note, others, place)
        WHERE t.id = o.id AND t.id = ANY (p_task) AND o.outcome NOT IN ('lost', 'contended')
        RETURNING t.id, t.article_id, t.created_at, t.claimed_at, embedq_elapsed_ms(t.claimed_at, v_now) AS ms,
                  o.outcome, o.chunks, o.note, o.others, o.place
    ), audited AS (
        INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, task_id, article_id, metadata,
                                          duration)
        SELECT embedq_nth_uuid(v_id, d.place), v_now,
               CASE WHEN d.note IS NOT NULL THEN 'warn' ELSE 'info' END, 'task_lifecycle',
               CASE d.outcome WHEN 'changed' THEN 'Task requeued: the article changed while it was embedded'
                              WHEN 'skipped' THEN 'Task completed: the article is not to be embedded'
                              WHEN 'removed' THEN 'Task completed: embeddings removed'
                              WHEN 'gone' THEN 'Task completed: the article does not exist'
                              ELSE 'Task completed' END,
               d.id, d.article_id,
               -- As a rule, there is nothing to strip, and tasks of a batch are alike: what is built once for all saves 3 %.
               CASE WHEN d.others IS NOT NULL OR d.note IS NOT NULL
                    THEN jsonb_strip_nulls(jsonb_build_object(
                        'worker', p_worker, 'outcome', d.outcome, 'chunks', d.chunks, 'coalesced', d.others,
                        'note', d.note))
                    WHEN d.outcome = v_outcome[1] AND d.chunks = p_chunks[1]
                    THEN (SELECT jsonb_build_object(
                        'worker', p_worker, 'outcome', v_outcome[1], 'chunks', p_chunks[1]))
                    ELSE jsonb_build_object('worker', p_worker, 'outcome', d.outcome, 'chunks', d.chunks) END,
               d.ms
        FROM done d
    )
    INSERT INTO performance_metrics (id, timestamp, metric_type, value, unit, metadata)
    SELECT embedq_uuid(), v_now, 'task_processing_time',
           round(avg(d.ms), 3), 'ms',
           jsonb_build_object('worker', p_worker, 'tasks', count(*), 'chunks', sum(d.chunks),
                              'wait_ms', round(avg(embedq_elapsed_ms(d.created_at, d.claimed_at))))
    FROM done d WHERE d.outcome <> 'changed' HAVING count(*) > 0;

    RETURN QUERY SELECT r.id, r.outcome FROM unnest(p_task, v_outcome) AS r(id, outcome)
                 UNION ALL SELECT s.id, 'coalesced' FROM unnest(v_spared) AS s(id);
END
$$;

-- Steps of embedq_complete, which alone calls them: its settings hold in them, too.

-- An older task that would undo this one must not run after it. Tasks of one transaction have the same created_at: of
-- these a delete counts as older, as of a program that replaces an article; otherwise the text might be lost. If it is
-- pending, it is completed with this one (see embedq_complete_others); if it cannot be locked (held by another program,
-- or locked by an open transaction), it has to end first: this one is contended. Returns the outcomes, and the number of
-- such older tasks.
CREATE FUNCTION embedq_hold_for_older(
    p_task uuid[], p_article int[], p_made timestamptz[], p_outcome text[], p_shared int[],
    OUT outcome text[], OUT older int)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_older uuid[];
    v_later uuid[];
    v_reached uuid[];
BEGIN
    SELECT array_agg(o.id), array_agg(p.task) INTO v_older, v_later
    FROM unnest(p_task, p_article, p_outcome, p_made) AS p(task, article, outcome, made)
    CROSS JOIN LATERAL (SELECT n.id FROM embedding_tasks n
                        WHERE (n.article_id, n.status) BETWEEN (p.article, 'pending') AND (p.article, 'processing')
                          AND (n.created_at, n.operation <> 'delete') < (p.made, p.outcome <> 'removed')
                          AND (n.operation = 'delete') <> (p.outcome = 'removed')
                        OFFSET 0) AS o
    WHERE p.outcome IN ('stored', 'removed') AND p.article = ANY (p_shared);
    outcome := p_outcome;
    older := coalesce(cardinality(v_older), 0);
    IF older > 0 THEN
        SELECT array_agg(l.id) INTO v_reached
        FROM (SELECT n.id FROM embedding_tasks n WHERE n.id = ANY (v_older) AND n.status IN ('pending', '')
              FOR UPDATE SKIP LOCKED) AS l;
        SELECT array_agg(CASE WHEN EXISTS (SELECT FROM unnest(v_later, v_older) AS b(task, older)
                                           WHERE b.task = o.task AND b.older <> ALL (coalesce(v_reached, '{}')))
                              THEN 'contended' ELSE o.outcome END ORDER BY o.place) INTO outcome
        FROM unnest(p_task, p_outcome) WITH ORDINALITY AS o(task, outcome, place);
    END IF;
END
$$;

-- Stores the chunks of the articles p_store, removes those they have no longer, and notes what was embedded.
CREATE FUNCTION embedq_store_chunks(
    p_now timestamptz, p_model text, p_article int[], p_source text[], p_chunks int[], p_outcome text[], p_store int[],
    c_article int[], c_index int[], c_chunk_id text[], c_heading text[], c_text text[], c_hash text[],
    c_vector anyarray)
RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF pg_typeof(c_vector) IN ('jsonb[]'::regtype) THEN
        INSERT INTO embeddings AS e (article_id, chunk_id, chunk_index, heading_path, text_content,
                                     content_hash, vector_data, model, created_at)
        SELECT c.article, c.chunk_id, c.index, string_to_array(c.heading, E'\x1f'), c.text, c.hash,
               coalesce(c.vector, (SELECT o.vector_data FROM embeddings o WHERE o.article_id = c.article
                                   AND o.content_hash = c.hash AND o.model = p_model
                                   AND o.vector_data IS NOT NULL LIMIT 1)),
               p_model, p_now
        FROM unnest(c_article, c_index, c_chunk_id, c_heading, c_text, c_hash, c_vector)
             AS c(article, index, chunk_id, heading, text, hash, vector)
        WHERE EXISTS (SELECT FROM unnest(p_store) AS s(id) WHERE s.id = c.article)
        ORDER BY c.article, c.index
        ON CONFLICT (article_id, chunk_index) DO UPDATE
        SET chunk_id = EXCLUDED.chunk_id, heading_path = EXCLUDED.heading_path, model = EXCLUDED.model,
            text_content = EXCLUDED.text_content, content_hash = EXCLUDED.content_hash,
            vector_data = EXCLUDED.vector_data, created_at = EXCLUDED.created_at
        WHERE (e.chunk_id, e.content_hash, e.text_content, e.heading_path, e.model, e.vector_data)
            IS DISTINCT FROM (EXCLUDED.chunk_id, EXCLUDED.content_hash, EXCLUDED.text_content,
                              EXCLUDED.heading_path, EXCLUDED.model, EXCLUDED.vector_data);
    ELSE
        INSERT INTO embeddings AS e (article_id, chunk_id, chunk_index, heading_path, text_content,
                                     content_hash, vector, model, created_at)
        SELECT c.article, c.chunk_id, c.index, string_to_array(c.heading, E'\x1f'), c.text, c.hash,
               coalesce(c.vector, (SELECT o.vector FROM embeddings o WHERE o.article_id = c.article
                                   AND o.content_hash = c.hash AND o.model = p_model
                                   AND o.vector IS NOT NULL LIMIT 1)),
               p_model, p_now
        FROM unnest(c_article, c_index, c_chunk_id, c_heading, c_text, c_hash, c_vector)
             AS c(article, index, chunk_id, heading, text, hash, vector)
        WHERE EXISTS (SELECT FROM unnest(p_store) AS s(id) WHERE s.id = c.article)
        ORDER BY c.article, c.index
        ON CONFLICT (article_id, chunk_index) DO UPDATE
        SET chunk_id = EXCLUDED.chunk_id, heading_path = EXCLUDED.heading_path, model = EXCLUDED.model,
            text_content = EXCLUDED.text_content, content_hash = EXCLUDED.content_hash,
            vector = EXCLUDED.vector, created_at = EXCLUDED.created_at
        -- Vectors are compared byte by byte, as records: pgvector's operators may not be in the search path.
        WHERE (e.chunk_id, e.content_hash, e.text_content, e.heading_path, e.model)
            IS DISTINCT FROM (EXCLUDED.chunk_id, EXCLUDED.content_hash, EXCLUDED.text_content,
                              EXCLUDED.heading_path, EXCLUDED.model)
            OR ROW(e.vector)::record *<> ROW(EXCLUDED.vector)::record;
    END IF;
    DELETE FROM embeddings WHERE id = ANY (ARRAY(
        SELECT e.id FROM unnest(p_article, p_chunks, p_outcome) AS o(article, chunks, outcome)
        CROSS JOIN LATERAL (
            SELECT s.id FROM embeddings s
            WHERE s.article_id = o.article AND (s.chunk_index BETWEEN 0 AND o.chunks - 1) IS NOT TRUE OFFSET 0) AS e
        WHERE o.outcome = 'stored'));
    INSERT INTO embedq_articles AS s (article_id, source, model, chunks, embedded_at)
    SELECT o.article, o.source, p_model, o.chunks, p_now
    FROM unnest(p_article, p_source, p_chunks, p_outcome) AS o(article, source, chunks, outcome)
    WHERE o.outcome = 'stored' ORDER BY o.article
    ON CONFLICT (article_id) DO UPDATE
    SET source = EXCLUDED.source, model = EXCLUDED.model, chunks = EXCLUDED.chunks,
        embedded_at = EXCLUDED.embedded_at;
END
$$;

-- Locks the texts of the articles until the commit; fails if one was saved while its chunks were stored.
CREATE FUNCTION embedq_require_same_texts(p_article int[], p_source text[], p_outcome text[]) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM unnest(p_article, p_source, p_outcome) AS o(article, source, outcome)
    LEFT JOIN LATERAL (
        SELECT CASE o.outcome WHEN 'stored' THEN l.no_rag IS NOT TRUE
                                                 AND embedq_source(l.title, l.slug, l.content) = o.source
                              WHEN 'skipped' THEN l.no_rag ELSE true END AS same
        FROM articles l WHERE l.id = o.article FOR NO KEY UPDATE) AS a ON true
    WHERE o.outcome IN ('stored', 'skipped', 'removed') AND a.same IS NOT TRUE;
    IF FOUND THEN
        RAISE serialization_failure USING MESSAGE = 'an article was saved while its embeddings were stored';
    END IF;
END
$$;

-- The current text has been stored, so other pending tasks of the article are done as well: the older ones, and newer
-- ones of the same kind up to the first that would undo this one (a delete after an update, an update after a delete).
-- All older ones that would undo this one, but not more than 10,000 others: an application that saves in a loop may
-- leave a million, for which no statement would have the time. Those left are claimed later. Returns those
-- completed, and for each task of p_task how many were completed with it.
CREATE FUNCTION embedq_complete_others(
    p_worker uuid, p_now timestamptz, p_task uuid[], p_article int[], p_made timestamptz[], p_outcome text[],
    p_shared int[], p_older int, OUT spared uuid[], OUT others bigint[])
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
    WITH spared AS (
        UPDATE embedding_tasks t
        SET status = 'completed', completed_at = p_now, crash_count = NULL, error_message = NULL,
            metadata = coalesce(t.metadata, '{}') || jsonb_build_object('coalesced_into', p.done)
        FROM (SELECT w.id, d.id AS done
              FROM unnest(p_task, p_article, p_made, p_outcome) AS d(id, article, made, outcome)
              CROSS JOIN LATERAL (
                  SELECT o.id FROM embedding_tasks o
                  WHERE o.article_id = d.article
                    AND (o.article_id, o.status) BETWEEN (d.article, 'pending') AND (d.article, 'pending')
                    AND ((o.created_at, o.operation <> 'delete') <= (d.made, d.outcome <> 'removed')
                         OR d.outcome = 'skipped'
                         OR (o.operation = 'delete') = (d.outcome = 'removed')
                            AND o.created_at < coalesce((
                                SELECT min(u.created_at) FROM embedding_tasks u
                                WHERE (u.article_id, u.status) BETWEEN (d.article, 'pending')
                                                                   AND (d.article, 'processing')
                                  AND (u.created_at, u.operation <> 'delete') > (d.made, d.outcome <> 'removed')
                                  AND (u.operation = 'delete') <> (d.outcome = 'removed')), 'infinity'))
                  ORDER BY (o.operation = 'delete') <> (d.outcome = 'removed') DESC NULLS LAST
                  LIMIT 10000 + p_older
                  FOR UPDATE SKIP LOCKED) AS w
              WHERE d.article = ANY (p_shared) AND d.outcome IN ('stored', 'removed', 'skipped')) AS p
        WHERE t.id = p.id
        RETURNING t.id, t.article_id, p.done
    ), audited AS (
        INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, task_id, article_id, metadata)
        SELECT embedq_uuid(), p_now, 'debug', 'task_lifecycle', 'Task completed with another of its article',
               s.id, s.article_id, jsonb_build_object('worker', p_worker, 'coalesced_into', s.done)
        FROM spared s
    )
    SELECT (SELECT array_agg(s.id) FROM spared s), array_agg(w.others ORDER BY p.place) INTO spared, others
    FROM unnest(p_task) WITH ORDINALITY AS p(id, place)
    LEFT JOIN (SELECT s.done, count(*) AS others FROM spared s GROUP BY s.done) AS w ON w.done = p.id;
END
$$;

-- SECURITY DEFINER functions must search pg_temp last, because any role can create tables there.
SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), 'pg_temp'), true);

-- What was recorded of articles is deleted with them. Under a stricter isolation level, what a worker wrote after the
-- snapshot was taken stays, and in that case all of the statement: deleting it would fail, and the program's deletion with
-- it. It does no harm, because text and number of chunks are compared.
CREATE FUNCTION embedq_article_gone() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT SET enable_seqscan = off SET jit = off AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM embedq_articles;
    ELSE
        DELETE FROM embedq_articles WHERE article_id = ANY (ARRAY(SELECT id FROM old_rows));
    END IF;
    RETURN NULL;
EXCEPTION WHEN serialization_failure THEN
    RETURN NULL;
END
$$;

CREATE TRIGGER embedq_deleted AFTER DELETE ON articles
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION embedq_article_gone();
CREATE TRIGGER embedq_truncated AFTER TRUNCATE ON articles FOR EACH STATEMENT EXECUTE FUNCTION embedq_article_gone();
