DROP TRIGGER IF EXISTS embedq_truncated ON articles;
DROP TRIGGER IF EXISTS embedq_deleted ON articles;
DROP FUNCTION IF EXISTS embedq_article_gone();
DROP FUNCTION IF EXISTS embedq_complete(uuid, text, uuid[], bigint[], timestamptz[], int[], text[], text[], int[],
    text[], int[], int[], text[], text[], text[], text[], anyarray);
DROP FUNCTION IF EXISTS embedq_complete_others(uuid, timestamptz, uuid[], int[], timestamptz[], text[], int[], int);
DROP FUNCTION IF EXISTS embedq_require_same_texts(int[], text[], text[]);
DROP FUNCTION IF EXISTS embedq_store_chunks(timestamptz, text, int[], text[], int[], text[], int[],
    int[], int[], text[], text[], text[], text[], anyarray);
DROP FUNCTION IF EXISTS embedq_hold_for_older(uuid[], int[], timestamptz[], text[], int[]);
