"""Sessions that the server ends."""

from __future__ import annotations

DOOMED = """
CREATE FUNCTION doom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT count(*) FROM embedding_tasks WHERE status = 'pending') >= {retried} THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER doom BEFORE UPDATE ON embedding_tasks FOR EACH STATEMENT EXECUTE FUNCTION doom()"""
"""Ends whoever changes tasks, once that many wait."""
