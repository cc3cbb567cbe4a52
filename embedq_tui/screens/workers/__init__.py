"""Who serves the queue."""
