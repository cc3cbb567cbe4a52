"""Settings, checks, schema."""
