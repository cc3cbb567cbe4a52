DROP FUNCTION IF EXISTS embedq_worker_order(uuid, int, text, text);
DROP FUNCTION IF EXISTS embedq_worker_report(uuid, text, text, int, int, int, int);
ALTER TABLE embedq_workers DROP COLUMN IF EXISTS concurrency_wanted;
