"""The queue in the database: claims, workers, circuit breaker, counts, retention; and filters of tasks."""
