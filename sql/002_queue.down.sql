-- Removes the queue: tasks, worker status, audit log and metrics, whoever made them.

DROP TABLE IF EXISTS performance_metrics;
DROP TABLE IF EXISTS embedding_audit_logs;
DROP TABLE IF EXISTS embedding_worker_status;
DROP TABLE IF EXISTS embedding_tasks;
