"""Connections to PostgreSQL: opening them, explaining their failures, receiving notifications."""
