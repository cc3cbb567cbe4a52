DROP FUNCTION IF EXISTS embedq_bulk_rollback(uuid, int, text);
DROP FUNCTION IF EXISTS embedq_backfill_batch(uuid, uuid, int, text, text[], text, int, text, text);
DROP FUNCTION IF EXISTS embedq_bulk_start(text, jsonb, bigint, uuid, bigint, bigint);
DROP FUNCTION IF EXISTS embedq_backfill_page(int, int, text, uuid, text, text);
DROP FUNCTION IF EXISTS embedq_store_articles(text[], text[], text[], text[], boolean[], boolean[], text, text, int,
    boolean);
DROP FUNCTION IF EXISTS embedq_compare_articles(text[], text[], text[], text[], boolean[], boolean[]);
DROP FUNCTION IF EXISTS embedq_enqueue(int[], text[], text[], text, int);
DROP TABLE IF EXISTS embedq_bulk_operations;
