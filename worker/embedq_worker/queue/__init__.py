"""The queue in the database: claims, workers, circuit breaker, counts; and filters of tasks."""
