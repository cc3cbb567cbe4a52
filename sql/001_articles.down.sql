-- Drops only tables that 001 created, and only if there are no articles: articles belong to the operator.

DO $$
BEGIN
    IF obj_description(to_regclass('embeddings'), 'pg_class') = 'made by embedq 001' THEN
        IF obj_description(to_regclass('articles'), 'pg_class') = 'made by embedq 001'
           AND EXISTS (SELECT FROM articles) THEN
            RAISE EXCEPTION 'the table articles is not empty'
                USING HINT = 'Export and delete them first; embedq never deletes articles.';
        END IF;
        DROP TABLE embeddings;
    END IF;
    IF obj_description(to_regclass('articles'), 'pg_class') = 'made by embedq 001' THEN
        DROP TABLE articles;
    END IF;
END
$$;
