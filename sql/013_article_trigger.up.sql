-- Opt-in: queues what any program saves, changes or deletes. The functions come with the schema, the triggers only by
-- embedq_article_trigger_install (`embedq-tui triggers install`).
--
-- The article program's save comes first: nothing here waits longer than lock_timeout, and no error reaches it. What
-- could not be queued is told as a WARNING and in the audit log, and a later backfill finds it, because it looks at the
-- texts and not at tasks. SECURITY DEFINER because that program's role knows nothing of our tables.
--
-- TRUNCATE articles has to take embeddings and embedding_tasks with it (foreign keys): nothing is left to queue.
-- embedq.no_trigger is set, for its transaction, by who queues the tasks of what it saves.

-- Functions that run with their owner's rights look for tables in pg_temp last: there others make what they like.
SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), 'pg_temp'), true);

CREATE FUNCTION embedq_article_saved() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '1s' AS $$
DECLARE
    v_ids int[];
    v_slugs text[];
    v_operations text[];
    v_error text;
BEGIN
    IF current_setting('embedq.no_trigger', true) = 'on' THEN
        RETURN NULL;
    END IF;
    BEGIN
        IF TG_OP = 'INSERT' THEN
            SELECT array_agg(n.id), array_agg(n.slug), array_agg('create'::text)
            INTO v_ids, v_slugs, v_operations FROM new_rows n WHERE n.no_rag IS NOT TRUE;
        ELSIF TG_OP = 'UPDATE' THEN
            -- Not to be embedded: only what it has is to go. A repeatable snapshot may not show what it has.
            SELECT array_agg(n.id), array_agg(n.slug), array_agg(CASE WHEN n.no_rag THEN 'delete' ELSE 'update' END)
            INTO v_ids, v_slugs, v_operations
            FROM new_rows n LEFT JOIN old_rows o ON o.id = n.id
            WHERE (o.id IS NULL OR coalesce(o.no_rag, false) <> coalesce(n.no_rag, false)
                   OR o.title IS DISTINCT FROM n.title OR o.slug IS DISTINCT FROM n.slug
                   OR o.content IS DISTINCT FROM n.content)
              AND (n.no_rag IS NOT TRUE OR current_setting('transaction_isolation') <> 'read committed'
                   OR EXISTS (SELECT FROM embeddings e WHERE e.article_id = n.id));
        ELSE
            -- Its tasks and embeddings went with it: this one tells that it did, and is completed as such.
            INSERT INTO embedding_tasks (id, article_id, slug, operation, priority, status, attempts, max_attempts,
                                         created_at, scheduled_at)
            SELECT embedq_uuid(), NULL, o.slug, 'delete', 'normal', 'pending', 0, TG_ARGV[0]::int, clock_timestamp(),
                   clock_timestamp()
            FROM old_rows o;
        END IF;
        IF v_ids IS NOT NULL THEN
            PERFORM embedq_enqueue(v_ids, v_slugs, v_operations, 'normal', TG_ARGV[0]::int, NULL);
        END IF;
    EXCEPTION WHEN OTHERS THEN
        v_error := SQLERRM;
        RAISE WARNING 'embedq: articles were saved, but their tasks could not be queued: %', v_error
            USING HINT = 'A backfill will find them.';
        BEGIN
            INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, metadata, error)
            VALUES (embedq_uuid(), clock_timestamp(), 'error', 'error_handling',
                    'Articles were saved, but their tasks could not be queued: a backfill will find them',
                    jsonb_build_object('statement', TG_OP, 'articles', v_ids[1:100]), v_error);
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'embedq: nor could that be written to the audit log: %', SQLERRM;
        END;
    END;
    RETURN NULL;
END
$$;

-- Makes the triggers what they should be; the caller sets lock_timeout, for this waits for writers and holds off new
-- ones meanwhile. Where a task needs an article, deletions cannot be queued. Returns false where all was there already.
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

-- Takes the triggers away; returns false where there were none, and then asks for no lock.
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
