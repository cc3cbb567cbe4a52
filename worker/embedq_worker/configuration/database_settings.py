"""Settings for the database: where it is and how its sessions are opened."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from embedq_worker.configuration.urls import (
    SslMode,
    check_hosts,
    check_postgres_url,
    connect_arguments_of,
    ssl_mode,
)


class DatabaseSettings(BaseSettings):
    """One group of `settings.Settings`."""

    model_config = SettingsConfigDict(defer_build=True)  # never instantiated on its own

    database_url: SecretStr | None = Field(
        None,
        validation_alias="DATABASE_URL",
        description="database URL; overrides DB_* and PG*",
    )
    db_host: str | None = Field(
        None,
        validation_alias="DB_HOST",
        description="host or socket directory, or several with commas; each DB_* overrides its PG*",
    )
    db_port: int | None = Field(None, ge=1, le=65_535, validation_alias="DB_PORT", description="port")
    db_name: str | None = Field(None, validation_alias="DB_NAME", description="database")
    db_user: str | None = Field(None, validation_alias="DB_USER", description="role")
    db_password: SecretStr | None = Field(
        None, validation_alias="DB_PASSWORD", description="password of the role"
    )
    db_ssl: SslMode | None = Field(
        None, validation_alias="DB_SSL", description="TLS mode; true means require"
    )
    pg_host: str | None = Field(
        None, validation_alias="PGHOST", description="host or socket directory, or several"
    )
    pg_port: int | None = Field(None, ge=1, le=65_535, validation_alias="PGPORT", description="port")
    pg_database: str | None = Field(None, validation_alias="PGDATABASE", description="database")
    pg_user: str | None = Field(None, validation_alias="PGUSER", description="role")
    pg_password: SecretStr | None = Field(
        None, validation_alias="PGPASSWORD", description="password of the role"
    )
    pg_sslmode: SslMode | None = Field(None, validation_alias="PGSSLMODE", description="TLS mode")
    db_pool_size: int | None = Field(
        None,
        ge=2,
        le=500,
        validation_alias="DB_POOL_SIZE",
        description="connections per worker; the default follows from the concurrency",
    )
    db_statement_cache: int = Field(
        200,
        ge=0,
        le=10_000,
        validation_alias="DB_STATEMENT_CACHE",
        description="prepared statements per connection; 0 behind a transaction-pooling PgBouncer",
    )
    db_read_only: bool = Field(
        False,
        validation_alias="DB_READ_ONLY",
        description="open every session read-only, so that PostgreSQL refuses any change",
    )

    @field_validator("db_ssl", "pg_sslmode", mode="before")
    @classmethod
    def _ssl_words(cls, value: object) -> object:
        return ssl_mode(value) if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _postgres_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_postgres_url(value.get_secret_value())
        return value

    @field_validator("db_host", "pg_host")
    @classmethod
    def _hosts(cls, value: str | None) -> str | None:
        check_hosts(value or "")
        return value

    def connect_arguments(self) -> dict[str, Any]:
        """Arguments for `asyncpg.connect` and `asyncpg.create_pool`; they include the password.

        Returns:
            Keyword arguments. What is not set is left out: asyncpg then reads libpq's PG* variables.
        """
        cache = {"statement_cache_size": self.db_statement_cache}
        if self.database_url:
            return cache | connect_arguments_of(self.database_url.get_secret_value())
        password = self.db_password or self.pg_password
        hosts = self.db_host or self.pg_host
        arguments: dict[str, Any] = {
            "host": hosts.split(",") if hosts and "," in hosts else hosts,  # several, as libpq has them
            "port": self.db_port or self.pg_port,
            "database": self.db_name or self.pg_database,
            "user": self.db_user or self.pg_user,
            "password": password.get_secret_value() if password else None,
            "ssl": self.db_ssl or self.pg_sslmode,
        }
        return cache | {name: value for name, value in arguments.items() if value is not None}

    @property
    def names_database(self) -> bool:
        """Whether anything says where the database is; without, libpq's defaults hold."""
        named = (self.database_url, self.db_host, self.db_port, self.db_name)
        return any((*named, self.pg_host, self.pg_port, self.pg_database))

    @property
    def place(self) -> str:
        """Where the database is, for people and without secrets: ``host:port/name``."""
        arguments = self.connect_arguments()
        if dsn := arguments.get("dsn"):
            parts = urlsplit(str(dsn))
            query = dict(parse_qsl(parts.query))
            host = parts.netloc.rpartition("@")[2] or query.get("host") or query.get("service", "/")
            return f"{'the local socket' if host.startswith('/') else host}{parts.path}"
        host = self.db_host or self.pg_host or "localhost"
        return (
            f"{host}:{arguments.get('port', 5432)}/{arguments.get('database') or arguments.get('user') or ''}"
        )

    def unused_beside_url(self) -> list[str]:
        """Variables that are set but ignored because DATABASE_URL is set too."""
        if not self.database_url:
            return []
        names = ("db_host", "db_port", "db_name", "db_user", "db_password", "db_ssl")
        return [name.upper() for name in names if getattr(self, name) is not None]
