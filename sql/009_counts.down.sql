DROP TRIGGER IF EXISTS embedq_count_truncate ON embedding_tasks;
DROP TRIGGER IF EXISTS embedq_count_delete ON embedding_tasks;
DROP TRIGGER IF EXISTS embedq_count_update ON embedding_tasks;
DROP TRIGGER IF EXISTS embedq_count_insert ON embedding_tasks;
DROP TRIGGER IF EXISTS embedq_signal ON embedq_count_deltas;
DROP FUNCTION IF EXISTS embedq_repair_counts(), embedq_signal(), embedq_count_truncate(),
    embedq_count_update(), embedq_count_delete(), embedq_count_insert(), embedq_fold_counts(boolean);
DROP VIEW IF EXISTS embedq_count_drift, embedq_live_failures;
DROP FUNCTION IF EXISTS embedq_counted();
DROP TABLE IF EXISTS embedq_failure_counts;
