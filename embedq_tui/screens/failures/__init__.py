"""Failed tasks by error."""
