"""Databases on one server, created and dropped for single tests."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import quote, urlsplit

import asyncpg
from pydantic import SecretStr

from embedq_worker.configuration.settings import Settings
from embedq_worker.schema import migrations

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

DIMENSIONS = 8
"""Dimensions of a vector in the template database."""


@dataclass(frozen=True, slots=True)
class Database:
    """One database.

    Attributes:
        url: Where it is.
        settings: Settings for it, with the dimensions of tests.
        opened: Connections opened here, closed with the database.
    """

    url: str
    settings: Settings
    opened: list[Connection] = field(default_factory=list)

    async def connect(self) -> Connection:
        """A new connection; the caller closes it, or the end of the test does."""
        connection = await asyncpg.connect(self.url)
        self.opened.append(connection)
        return connection

    def in_schema(self, schema: str) -> Settings:
        """Settings for another schema of this database."""
        return self._with_url(f"{self.url}?schema={quote(schema)}")

    def as_role(self, role: str) -> Settings:
        """Settings for this database as another role."""
        return self._with_url(self.url.replace("://postgres@", f"://{quote(role)}@"))

    def _with_url(self, url: str) -> Settings:
        return self.settings.model_copy(update={"database_url": SecretStr(url)})


class Administrator:
    """A session of a superuser that serves all tests, each of which has an event loop of its own.

    To connect costs as much as to create a database.
    """

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._connection: Connection = self._loop.run_until_complete(asyncpg.connect(url))

    async def execute(self, *statements: str) -> None:
        """Execute statements, in the session's own event loop."""
        for statement in statements:
            await asyncio.to_thread(self._loop.run_until_complete, self._connection.execute(statement))

    def close(self) -> None:
        """End the session."""
        self._loop.run_until_complete(self._connection.close())
        self._loop.close()


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        url: Where it is, as superuser.
        version: Major version.
        has_pgvector: Whether the extension can be created.
        administrator: Creates and drops databases; None for a new session each time.
    """

    url: str
    version: int
    has_pgvector: bool
    administrator: Administrator | None = None
    token: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def template(self) -> str:
        """Name of the migrated database that the others are copied from."""
        return f"embedq_template_{self.token}"

    def database(self, name: str) -> Database:
        """The database of this name, existing or not."""
        url = urlsplit(self.url)._replace(path=f"/{name}").geturl()
        settings = Settings(_env_file=None, database_url=url, dimensions_wanted=DIMENSIONS)
        return Database(url, settings)

    @asynccontextmanager
    async def new_database(self, template: str | None = None) -> AsyncIterator[Database]:
        """Create a database, and drop it at the end even if sessions are still connected.

        Args:
            template: Database to copy; None for an empty one.
        """
        name = f"embedq_{self.token}_{secrets.token_hex(4)}"
        # The default from 15 on writes it all to the log first, which takes twice as long here.
        strategy = "STRATEGY FILE_COPY" if self.version >= 15 else ""
        await self._administer(f"CREATE DATABASE {name} TEMPLATE {template or 'template0'} {strategy}")
        database = self.database(name)
        try:
            yield database
        finally:
            for connection in database.opened:
                if not connection.is_closed():
                    connection.terminate()
            await self.drop(name)

    async def drop(self, name: str) -> None:
        """Drop a database, and terminate its sessions."""
        await self._administer(
            f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
            f"DROP DATABASE {name}",
        )

    async def make_template(self) -> None:
        """Create and migrate the template."""
        await self._administer(f"CREATE DATABASE {self.template} TEMPLATE template0")
        await migrations.up(self.database(self.template).settings)

    async def _administer(self, *statements: str) -> None:
        if self.administrator is not None:
            await self.administrator.execute(*statements)
            return
        async with self.administration() as administration:
            for statement in statements:
                await administration.execute(statement)

    @asynccontextmanager
    async def administration(self) -> AsyncIterator[Connection]:
        """A connection to the server's own database."""
        connection = await asyncpg.connect(self.url)
        try:
            yield connection
        finally:
            await connection.close()


async def inspect(url: str) -> Server:
    """Inspect a running server.

    Args:
        url: URL of any of its databases, as an administrator.
    """
    connection = await asyncpg.connect(url)
    try:
        version = connection.get_server_version().major
        has_pgvector = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector')"
        )
    finally:
        await connection.close()
    return Server(url, version, has_pgvector)
