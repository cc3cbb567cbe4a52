DROP TRIGGER IF EXISTS embedq_running_changed ON embedding_worker_status;
DROP FUNCTION IF EXISTS embedq_command(text, text);
DROP FUNCTION IF EXISTS embedq_outlook(text[], text[], bigint);
DROP FUNCTION IF EXISTS embedq_worker_stop(uuid, text);
DROP FUNCTION IF EXISTS embedq_worker_beat(uuid, text, text, int, int, int, int);
DROP FUNCTION IF EXISTS embedq_worker_start(uuid, text, int, text, text, text, jsonb);
DROP FUNCTION IF EXISTS embedq_running_changed();
DROP FUNCTION IF EXISTS embedq_lock_status();
