"""The queue in the database: claims, workers, circuit breaker, counts, retention; and filters of tasks.

Connections and pools are to the migrated database.
"""
