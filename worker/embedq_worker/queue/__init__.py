"""The queue as rows: claims, workers, breaker, counts; and which tasks a filter means."""
