-- embedq: no-transaction
-- Built CONCURRENTLY: the article program goes on saving. Each names the query it serves.

-- claim: due tasks of one priority, in order
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_claim_idx
    ON embedding_tasks (embedq_rank(priority), scheduled_at, id) WHERE status = 'pending';

-- claim while the provider is down: deletes need no provider
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_delete_idx
    ON embedding_tasks (scheduled_at, id) WHERE status = 'pending' AND operation = 'delete';

-- the article program's own claim, which sorts by this expression
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_other_claim_idx
    ON embedding_tasks ((CASE priority WHEN 'high' THEN 1 WHEN 'normal' THEN 2 WHEN 'low' THEN 3 END), created_at)
    WHERE status = 'pending';

-- what is in hand: one article by one worker, the stuck list, the rescue
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_busy_idx
    ON embedding_tasks (article_id, processed_at) WHERE status = 'processing';

-- claim: whether a worker has a suspect in hand; next to always empty. Its status is not in it: asked for by status, too,
-- the planner may read all that is in hand instead, with all the dead entries that an old snapshot keeps.
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_suspect_idx
    ON embedding_tasks (worker_id) WHERE crash_count > 0;

-- tasks of an article, the open ones among the many of before; the cascade when it is deleted
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_article_idx ON embedding_tasks (article_id, status);

-- failures: newest first, and by group; both ways, page by page, for lists and for an operator's actions
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_failed_idx
    ON embedding_tasks (completed_at DESC, id DESC) WHERE status = 'failed';
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_failure_group_idx
    ON embedding_tasks (embedq_fingerprint(error_message), completed_at DESC, id DESC) WHERE status = 'failed';

-- retention; what was done last
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_completed_idx
    ON embedding_tasks (completed_at, id) WHERE status = 'completed';

-- progress and rollback of a bulk operation; its tasks page by page
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_bulk_idx
    ON embedding_tasks ((metadata ->> 'bulkOperationId'), status, id) WHERE metadata ? 'bulkOperationId';

-- audit: tail and retention; history of a task
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_audit_time_idx ON embedding_audit_logs (timestamp, id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_audit_task_idx
    ON embedding_audit_logs (task_id, timestamp) WHERE task_id IS NOT NULL;

-- audit: what is rare among the history of tasks (warnings, errors, what operators did), newest first
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_audit_uncommon_idx
    ON embedding_audit_logs (timestamp, id) WHERE category <> 'task_lifecycle' OR level IN ('warn', 'error');

-- audit: what an operator's action changed, page by page: to show it, newest first, and to undo it
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_audit_operation_idx
    ON embedding_audit_logs (operation_id, timestamp, id) WHERE operation_id IS NOT NULL;

-- metrics: one type over a time; retention
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_metrics_type_idx ON performance_metrics (metric_type, timestamp);
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_metrics_time_idx ON performance_metrics (timestamp);
