-- Takes away only what 001 made, and only while it holds no article: articles are the operator's.

DO $$
BEGIN
    IF obj_description(to_regclass('embeddings'), 'pg_class') = 'made by embedq 001' THEN
        IF obj_description(to_regclass('articles'), 'pg_class') = 'made by embedq 001'
           AND EXISTS (SELECT FROM articles) THEN
            RAISE EXCEPTION 'the articles table holds articles'
                USING HINT = 'Export and delete them first; embedq never deletes articles.';
        END IF;
        DROP TABLE embeddings;
    END IF;
    IF obj_description(to_regclass('articles'), 'pg_class') = 'made by embedq 001' THEN
        DROP TABLE articles;
    END IF;
END
$$;
