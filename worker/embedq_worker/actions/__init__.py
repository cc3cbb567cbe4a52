"""Operators' actions on many tasks and articles, and their undo; orders to workers.

Database errors are passed on, between two batches: asyncpg.PostgresError, OSError, TimeoutError, see
`failures.explained`.
"""
