-- Drops the queue: tasks, worker status, audit log and metrics, whichever program created them.

DROP TABLE IF EXISTS performance_metrics;
DROP TABLE IF EXISTS embedding_audit_logs;
DROP TABLE IF EXISTS embedding_worker_status;
DROP TABLE IF EXISTS embedding_tasks;
