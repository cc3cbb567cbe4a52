"""Work that commands and the console share.

Database errors are passed on: asyncpg.PostgresError, OSError, TimeoutError, see `failures.explained`.
"""
