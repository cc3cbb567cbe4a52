-- embedq: no-transaction
DROP INDEX CONCURRENTLY IF EXISTS embedq_tasks_claim_idx;
DROP INDEX CONCURRENTLY IF EXISTS embedq_tasks_delete_idx;
DROP INDEX CONCURRENTLY IF EXISTS embedq_tasks_other_claim_idx;
DROP INDEX CONCURRENTLY IF EXISTS embedq_tasks_busy_idx;
DROP INDEX CONCURRENTLY IF EXISTS embedq_tasks_suspect_idx;
DROP INDEX CONCURRENTLY IF EXISTS embedq_tasks_article_idx;
DROP INDEX CONCURRENTLY IF EXISTS embedq_tasks_failed_idx;
DROP INDEX CONCURRENTLY IF EXISTS embedq_tasks_failure_group_idx;
DROP INDEX CONCURRENTLY IF EXISTS embedq_tasks_completed_idx;
DROP INDEX CONCURRENTLY IF EXISTS embedq_tasks_bulk_idx;
DROP INDEX CONCURRENTLY IF EXISTS embedq_audit_time_idx;
DROP INDEX CONCURRENTLY IF EXISTS embedq_audit_task_idx;
DROP INDEX CONCURRENTLY IF EXISTS embedq_audit_uncommon_idx;
DROP INDEX CONCURRENTLY IF EXISTS embedq_audit_unqueued_idx;
DROP INDEX CONCURRENTLY IF EXISTS embedq_audit_operation_idx;
DROP INDEX CONCURRENTLY IF EXISTS embedq_metrics_type_idx;
DROP INDEX CONCURRENTLY IF EXISTS embedq_metrics_time_idx;
