DO $$
BEGIN
    IF to_regprocedure('embedq_article_trigger_remove()') IS NOT NULL THEN
        IF embedq_article_trigger_remove() THEN
            RAISE WARNING 'the database no longer queues the articles that programs save'
                USING HINT = 'After the next migration: embedq-tui triggers install, embedq-tui backfill';
        END IF;
    END IF;
END
$$;
DROP FUNCTION IF EXISTS embedq_article_trigger_install(int), embedq_article_trigger_remove(), embedq_article_saved();
