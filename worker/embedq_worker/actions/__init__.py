"""Operators' actions on many tasks and articles, and their undo; orders to workers.

Each takes a connection to the migrated database and, for the audit log, who asks (`by`, as ``user@host``).
Database errors are passed on, between two batches: asyncpg.PostgresError, OSError, TimeoutError, see
`failures.explained`.
"""
