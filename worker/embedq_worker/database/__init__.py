"""Connections to PostgreSQL, how they fail, and what is heard through them."""
