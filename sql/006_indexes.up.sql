-- embedq: no-transaction
-- Built CONCURRENTLY, so that the article application can go on writing. Each comment names the query it is for.

-- claim: due tasks of one priority, in order
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_claim_idx
    ON embedding_tasks (embedq_rank(priority), scheduled_at, id) WHERE status = 'pending';

-- claim while the provider is down, when only deletes can be processed
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_delete_idx
    ON embedding_tasks (scheduled_at, id) WHERE status = 'pending' AND operation = 'delete';

-- the article application's own claim, which sorts by this expression
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_other_claim_idx
    ON embedding_tasks ((CASE priority WHEN 'high' THEN 1 WHEN 'normal' THEN 2 WHEN 'low' THEN 3 END), created_at)
    WHERE status = 'pending';

-- claimed tasks: at most one per article, the list of stuck tasks, taking them back
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_busy_idx
    ON embedding_tasks (article_id, processed_at) WHERE status = 'processing';

-- claim: whether a worker holds a suspect; almost always empty. It does not depend on the status: in a query with a
-- condition on the status, the planner might read all claimed tasks instead, with the dead entries that an old snapshot
-- keeps.
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_suspect_idx
    ON embedding_tasks (worker_id) WHERE crash_count > 0;

-- tasks of an article, and the open ones among many old ones; the cascade when an article is deleted
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_article_idx ON embedding_tasks (article_id, status);

-- failures: newest first, and by group; page by page in both directions, for lists and for operators' actions
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_failed_idx
    ON embedding_tasks (completed_at DESC, id DESC) WHERE status = 'failed';
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_failure_group_idx
    ON embedding_tasks (embedq_fingerprint(error_message), completed_at, id) WHERE status = 'failed';

-- retention; the tasks completed last
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_completed_idx
    ON embedding_tasks (completed_at, id) WHERE status = 'completed';

-- progress and rollback of a bulk operation; its tasks page by page
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_tasks_bulk_idx
    ON embedding_tasks ((metadata ->> 'bulkOperationId'), status, id) WHERE metadata ? 'bulkOperationId';

-- audit: tail and retention; history of a task
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_audit_time_idx ON embedding_audit_logs (timestamp, id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_audit_task_idx
    ON embedding_audit_logs (task_id, timestamp) WHERE task_id IS NOT NULL;

-- audit: the rare rows among the history of tasks (warnings, errors, operators' actions), newest first
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_audit_uncommon_idx
    ON embedding_audit_logs (timestamp, id) WHERE category <> 'task_lifecycle' OR level IN ('warn', 'error');

-- audit: what the trigger on articles (013) could not queue; almost always empty
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_audit_unqueued_idx ON embedding_audit_logs (timestamp)
    WHERE message = 'Articles were saved, but their tasks could not be queued: a backfill will find them';

-- audit: what an operator's action changed, page by page: to show it, newest first, or to undo it
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_audit_operation_idx
    ON embedding_audit_logs (operation_id, timestamp, id) WHERE operation_id IS NOT NULL;

-- metrics: one type over a period; retention
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_metrics_type_idx ON performance_metrics (metric_type, timestamp);
CREATE INDEX CONCURRENTLY IF NOT EXISTS embedq_metrics_time_idx ON performance_metrics (timestamp);
