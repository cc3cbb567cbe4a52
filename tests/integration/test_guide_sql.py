"""What the guide says to type into psql is understood by the server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import Connection

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = {path.stem: path.read_text("utf-8") for path in sorted(DOCS.glob("*.md"))}

_BLOCK = re.compile(r"^```sql\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"^ {4,}((?:SELECT|INSERT|UPDATE|DELETE) .*(?:\n {5,}.*)*)", re.MULTILINE)
_SPAN = re.compile(r"`((?:SELECT|INSERT|UPDATE|DELETE|ALTER|VACUUM) [^`]+)`")
_ALONE = ("VACUUM", "CREATE INDEX CONCURRENTLY")
"""Not inside a transaction."""
_BEYOND = ("DROP OWNED", "DROP ROLE", "CREATE ROLE", "ALTER ROLE", "GRANT", "CREATE EXTENSION")
"""About what belongs to the whole server."""


def statements(page: str) -> Iterator[str]:
    """Statements of a page, with something in the place of PID and ID."""
    for text in (*_BLOCK.findall(page), *_INDENTED.findall(page), *_SPAN.findall(page)):
        for statement in re.sub(r"--.*", "", text).split(";"):
            if statement := " ".join(statement.split()):
                yield statement.replace("(PID)", "(0)")


@pytest.mark.pgvector
@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if list(statements(text))])
async def test_its_sql_can_be_typed(page: str, connection: Connection) -> None:
    for statement in statements(PAGES[page]):
        if statement.startswith(_BEYOND):
            continue
        if statement.startswith(_ALONE):
            await connection.execute(statement)
            continue
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(statement)
        await transaction.rollback()
