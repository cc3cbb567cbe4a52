"""Importing Markdown files as articles. Shared by the command and the console."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from embedq_worker.content.articles import ImportOptions, Item, StoredBatch, store_articles
from embedq_worker.content.importing import MAX_FOLDER, ArticleDraft, Skipped, find_markdown, read_articles
from embedq_worker.database.connections import Connection
from embedq_worker.schema.state import require_current


async def count_files(paths: Sequence[Path]) -> int:
    """Count the files to read.

    Raises:
        UsageError: One of the paths does not exist.
    """
    return len(await asyncio.to_thread(find_markdown, paths))


async def import_files(
    connection: Connection,
    paths: Sequence[Path],
    folder: str,
    options: ImportOptions,
    report: Callable[[StoredBatch], None],
) -> None:
    """Read files and store them as articles, batch by batch.

    Args:
        connection: To the database.
        paths: Files, and folders to search.
        folder: Put the articles below this folder; empty to keep theirs.
        options: How to store them.
        report: Called after each batch.

    Raises:
        SchemaError: The database is not migrated.
        EmbedqError: See `store_articles`.
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """
    await require_current(connection)
    items = await asyncio.to_thread(_items, paths, folder)
    async for batch in store_articles(connection, items, options):
        report(batch)


def _items(paths: Sequence[Path], folder: str) -> Iterator[Item]:
    found = read_articles(paths)  # finds all files before it reads the first
    return (_below(folder, item) for item in found)


def _below(folder: str, item: Item) -> Item:
    if not folder or not isinstance(item, ArticleDraft):
        return item
    whole = f"{folder}/{item.folder}" if item.folder else folder
    if len(whole) > MAX_FOLDER:
        return Skipped(item.source, f"folder name longer than {MAX_FOLDER} characters")
    return replace(item, folder=whole)
