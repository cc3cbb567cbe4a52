-- Optional: queues articles that any program inserts, updates or deletes. The functions are part of the schema; the
-- triggers are created only by embedq_article_trigger_install (`embedq-tui triggers install`).
--
-- Saving an article must never fail because of this: nothing here waits longer than lock_timeout, and errors are not
-- passed on. What could not be queued is reported as a WARNING and in the audit log; a later backfill finds it, because
-- that compares texts and does not rely on tasks. SECURITY DEFINER because the article application's role has no
-- privileges on our tables.
--
-- TRUNCATE articles must include embeddings and embedding_tasks (foreign keys), so nothing is left to queue.
-- Sessions that queue the tasks for their own changes set embedq.no_trigger for their transaction.
--
-- Plans are cached from the first statement of a session, which may save one article, or all. So neither may be planned
-- for its number of rows: a nested loop over all would take hours, a hash of all embeddings is too much for one.

-- SECURITY DEFINER functions must search pg_temp last, because any role can create tables there.
SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), 'pg_temp'), true);

CREATE FUNCTION embedq_article_saved() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT SET lock_timeout = '1s' SET enable_nestloop = off SET jit = off AS $$
DECLARE
    v_ids int[];
    v_slugs text[];
    v_operations text[];
    v_error text;
    -- When the save would be ended, and this with it; transaction_timeout exists from PostgreSQL 17 on.
    v_patience interval := least(
        nullif(current_setting('statement_timeout')::interval, interval '0'),
        nullif(current_setting('transaction_timeout', true)::interval, interval '0') - (clock_timestamp() - now()));
BEGIN
    IF current_setting('embedq.no_trigger', true) = 'on' THEN
        RETURN NULL;
    END IF;
    IF v_patience <= interval '2 s' THEN
        PERFORM set_config('lock_timeout', ceil(extract(epoch FROM greatest(v_patience, '4 ms')) * 250)::text, true);
    END IF;
    BEGIN
        IF TG_OP = 'INSERT' THEN
            SELECT array_agg(n.id), array_agg(n.slug), array_agg('create'::text)
            INTO v_ids, v_slugs, v_operations FROM new_rows n WHERE n.no_rag IS NOT TRUE;
        ELSIF TG_OP = 'UPDATE' THEN
            -- Articles excluded from embedding get a task only if they have embeddings to remove. Under a stricter
            -- isolation level the snapshot may not show those, so they always get one.
            SELECT array_agg(n.id), array_agg(n.slug), array_agg(CASE WHEN n.no_rag THEN 'delete' ELSE 'update' END)
            INTO v_ids, v_slugs, v_operations
            FROM new_rows n LEFT JOIN old_rows o ON o.id = n.id
            WHERE (o.id IS NULL OR coalesce(o.no_rag, false) <> coalesce(n.no_rag, false)
                   OR o.title IS DISTINCT FROM n.title OR o.slug IS DISTINCT FROM n.slug
                   OR o.content IS DISTINCT FROM n.content)
              AND (n.no_rag IS NOT TRUE OR current_setting('transaction_isolation') <> 'read committed'
                   OR EXISTS (SELECT FROM embeddings e WHERE e.article_id = n.id OFFSET 0));
        ELSE
            -- Tasks and embeddings of the article are deleted with it; this task only records the deletion.
            INSERT INTO embedding_tasks (id, article_id, slug, operation, priority, status, attempts, max_attempts,
                                         created_at, scheduled_at)
            SELECT embedq_uuid(), NULL, o.slug, 'delete', 'normal', 'pending', 0, TG_ARGV[0]::int, clock_timestamp(),
                   clock_timestamp()
            FROM old_rows o;
        END IF;
        IF v_ids IS NOT NULL THEN
            PERFORM embedq_enqueue(v_ids, v_slugs, v_operations, 'normal', TG_ARGV[0]::int);
        END IF;
    EXCEPTION WHEN OTHERS THEN
        v_error := SQLERRM;
        RAISE WARNING 'embedq: articles were saved, but their tasks could not be queued: %', v_error
            USING HINT = 'embedq-tui backfill finds and queues them.';
        BEGIN
            INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, metadata, error)
            VALUES (embedq_uuid(), clock_timestamp(), 'error', 'error_handling',
                    'Articles were saved, but their tasks could not be queued: a backfill will find them',
                    jsonb_build_object('statement', TG_OP, 'articles', v_ids[1:100]), v_error);
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'embedq: this could not be written to the audit log either: %', SQLERRM;
        END;
    END;
    RETURN NULL;
END
$$;

-- Creates the triggers, or replaces those that differ. The caller sets lock_timeout, because this waits for writers and
-- blocks new ones meanwhile. If a task must reference an article, deletions cannot be queued. Returns false if there was
-- nothing to do.
CREATE FUNCTION embedq_article_trigger_install(p_max_attempts int) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    v_events text[] := ARRAY['insert', 'update'];
    v_tables text[] := ARRAY['NEW TABLE AS new_rows', 'OLD TABLE AS old_rows NEW TABLE AS new_rows'];
    v_there text[];
BEGIN
    IF NOT (SELECT a.attnotnull FROM pg_attribute a
            WHERE a.attrelid = 'embedding_tasks'::regclass AND a.attname = 'article_id') THEN
        v_events := v_events || 'delete'::text;
        v_tables := v_tables || 'OLD TABLE AS old_rows'::text;
    END IF;
    SELECT array_agg(replace(t.tgname, 'embedq_article_', '')) INTO v_there FROM pg_trigger t
    WHERE t.tgrelid = 'articles'::regclass AND t.tgname LIKE E'embedq\\_article\\_%' AND t.tgenabled IN ('O', 'A')
      AND encode(t.tgargs, 'escape') = p_max_attempts || E'\\000';
    IF v_there @> v_events THEN
        RETURN false;
    END IF;
    PERFORM embedq_article_trigger_remove();
    FOR i IN 1..cardinality(v_events) LOOP
        EXECUTE format('CREATE TRIGGER %I AFTER %s ON articles REFERENCING %s
                        FOR EACH STATEMENT EXECUTE FUNCTION embedq_article_saved(%L)',
                       'embedq_article_' || v_events[i], v_events[i], v_tables[i], p_max_attempts);
    END LOOP;
    RETURN true;
END
$$;

-- Drops the triggers; returns false, without taking a lock, if there were none.
CREATE FUNCTION embedq_article_trigger_remove() RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    v_name text;
    v_found boolean := false;
BEGIN
    FOR v_name IN SELECT tgname FROM pg_trigger
                  WHERE tgrelid = to_regclass('articles') AND tgname LIKE E'embedq\\_article\\_%' LOOP
        EXECUTE format('DROP TRIGGER %I ON articles', v_name);
        v_found := true;
    END LOOP;
    RETURN v_found;
END
$$;
