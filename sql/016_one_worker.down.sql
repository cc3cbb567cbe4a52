DROP FUNCTION IF EXISTS embedq_worker_order(uuid, int, text, boolean, text);
