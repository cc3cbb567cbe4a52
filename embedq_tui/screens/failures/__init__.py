"""Failed tasks, grouped by error."""
