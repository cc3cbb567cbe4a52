"""The schema: migrating, inspecting, verifying and rolling it back; and how it stores vectors.

What takes a connection takes one to any database, and passes on asyncpg.PostgresError.
"""
