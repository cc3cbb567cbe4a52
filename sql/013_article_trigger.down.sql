DO $$
BEGIN
    IF to_regprocedure('embedq_article_trigger_remove()') IS NOT NULL THEN
        PERFORM embedq_article_trigger_remove();
    END IF;
END
$$;
DROP FUNCTION IF EXISTS embedq_article_trigger_install(int), embedq_article_trigger_remove(), embedq_article_saved();
