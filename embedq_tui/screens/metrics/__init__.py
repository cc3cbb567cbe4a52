"""The pace over time."""
