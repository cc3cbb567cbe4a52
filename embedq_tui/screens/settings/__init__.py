"""Settings, checks, schema and maintenance."""
