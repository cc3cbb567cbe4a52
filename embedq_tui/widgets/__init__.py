"""General-purpose widgets, which know nothing about queues or tasks."""
