-- The article tables, created only if absent: existing ones are left exactly as they are.
-- The migrator sets embedq.dimensions from EMBEDDING_DIMENSIONS.

DO $$
DECLARE
    dimensions int := coalesce(nullif(current_setting('embedq.dimensions', true), ''), '768')::int;
    column_type text;
    others text;
BEGIN
    IF to_regclass('articles') IS NULL THEN
        CREATE TABLE articles (
            id serial PRIMARY KEY,
            title varchar(500) NOT NULL,
            slug varchar(255) NOT NULL UNIQUE,
            content text NOT NULL DEFAULT '',
            folder varchar(500) DEFAULT '',
            is_public boolean DEFAULT false,
            no_rag boolean DEFAULT false,
            created_at timestamptz DEFAULT now(),
            updated_at timestamptz DEFAULT now(),
            created_by varchar(255),
            updated_by varchar(255)
        );
        COMMENT ON TABLE articles IS 'made by embedq 001';

        -- As an ORM may name it: "Article", blog_article.
        SELECT string_agg(oid::regclass::text, ', ') INTO others FROM pg_class
        WHERE relkind IN ('r', 'p', 'v') AND pg_table_is_visible(oid) AND relname NOT IN ('articles', 'embedq_articles')
          AND lower(relname) ~ '(^|_)articles?$';
        IF others IS NOT NULL THEN
            RAISE WARNING 'there was no table articles, so an empty one was made; there is also %', others
                USING HINT = 'If the articles are there, embedq does not see them: roll back to 0, and rename that table.';
        END IF;
    END IF;

    IF to_regclass('embeddings') IS NULL THEN
        IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector') THEN
            BEGIN
                CREATE EXTENSION IF NOT EXISTS vector;
            EXCEPTION WHEN insufficient_privilege THEN
                RAISE WARNING 'pgvector is available, but this role may not create it: vectors will be stored as jsonb'
                    USING HINT = 'To use pgvector, have a superuser run CREATE EXTENSION vector first.';
            END;
        END IF;
        IF EXISTS (SELECT FROM pg_extension WHERE extname = 'vector') THEN
            SELECT format('vector %I.vector(%s)', nspname, dimensions) INTO column_type
            FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'vector';
        ELSE
            column_type := 'vector_data jsonb';
        END IF;
        EXECUTE format($table$
            CREATE TABLE embeddings (
                id serial PRIMARY KEY,
                article_id int NOT NULL REFERENCES articles (id) ON DELETE CASCADE,
                chunk_id varchar(255) NOT NULL,
                chunk_index int NOT NULL,
                heading_path text[],
                text_content text NOT NULL,
                content_hash varchar(64),
                %s,
                created_at timestamptz DEFAULT now(),
                UNIQUE (article_id, chunk_index)
            )$table$, column_type);
        COMMENT ON TABLE embeddings IS 'made by embedq 001';
    END IF;
END
$$;
