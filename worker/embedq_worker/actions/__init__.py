"""What an operator does to many tasks and articles, and takes back.

What the database raises is raised, between two batches: asyncpg.PostgresError, OSError, TimeoutError, see
`failures.explained`.
"""
