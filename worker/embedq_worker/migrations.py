"""Bring the schema of a database up to date."""

from __future__ import annotations

from collections.abc import Callable

from embedq_worker.database import connected
from embedq_worker.schema_files import load_migrations, runs_in_transaction, statements_of
from embedq_worker.settings import Settings


async def up(
    settings: Settings, report: Callable[[str], None] = lambda line: None, *, target: int | None = None
) -> list[int]:
    """Apply what is missing, in order.

    Args:
        settings: Where the database is, and the dimensions of vectors.
        report: Takes a line for the operator.
        target: Last version to apply; None for all.

    Returns:
        Versions applied now.
    """
    applied = []
    async with connected(settings, "embedq-migrate") as connection:
        await connection.execute(
            """CREATE TABLE IF NOT EXISTS embedq_migrations (version int PRIMARY KEY, name text NOT NULL,
               checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"""
        )
        known = {row["version"] for row in await connection.fetch("SELECT version FROM embedq_migrations")}
        await connection.execute(
            "SELECT set_config('embedq.dimensions', $1, false)", str(settings.dimensions)
        )
        for migration in load_migrations():
            if migration.version in known or (target is not None and migration.version > target):
                continue
            parts = [migration.up] if runs_in_transaction(migration.up) else statements_of(migration.up)
            for part in parts:
                await connection.execute(part)
            await connection.execute(
                "INSERT INTO embedq_migrations (version, name, checksum) VALUES ($1, $2, $3)",
                migration.version,
                migration.name,
                migration.checksum,
            )
            report(f"{migration.label}: applied")
            applied.append(migration.version)
    return applied
