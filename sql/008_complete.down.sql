DROP TRIGGER IF EXISTS embedq_truncated ON articles;
DROP TRIGGER IF EXISTS embedq_deleted ON articles;
DROP FUNCTION IF EXISTS embedq_article_gone();
DROP FUNCTION IF EXISTS embedq_complete(uuid, text, uuid[], bigint[], timestamptz[], int[], text[], text[], int[],
    text[], int[], int[], text[], text[], text[], text[], anyarray);
