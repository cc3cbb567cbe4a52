"""Settings for monitoring: the thresholds of `health`, and where metrics are served."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class WatchSettings(BaseSettings):
    """One group of `settings.Settings`."""

    model_config = SettingsConfigDict(defer_build=True)  # never instantiated on its own

    health_backlog: int = Field(
        10_000,
        ge=1,
        le=1_000_000_000,
        validation_alias="EMBEDDING_HEALTH_BACKLOG",
        description="health reports more pending tasks than this",
    )
    health_wait_s: int = Field(
        3_600,
        ge=1,
        le=31_536_000,
        validation_alias="EMBEDDING_HEALTH_WAIT",
        description="health reports a due task that has waited longer than this to be claimed, s",
    )
    health_stall_s: int = Field(
        600,
        ge=60,
        le=31_536_000,
        validation_alias="EMBEDDING_HEALTH_STALL",
        description="health reports workers that hold tasks but have finished none for longer than this, s",
    )
    health_stuck: int = Field(
        0,
        ge=0,
        le=1_000_000_000,
        validation_alias="EMBEDDING_HEALTH_STUCK",
        description="health reports more stuck tasks than this",
    )
    health_failure_rate: float = Field(
        0.1,
        ge=0,
        le=1,
        validation_alias="EMBEDDING_HEALTH_FAILURE_RATE",
        description="health reports a larger share of failures among tasks ended in the last hour or day",
    )
    health_dead_rows: float = Field(
        0.5,
        ge=0,
        le=1,
        validation_alias="EMBEDDING_HEALTH_DEAD_ROWS",
        description="health reports a larger share of dead tuples in the queue table",
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        validation_alias="EMBEDDING_METRICS_PORT",
        description="port for /metrics, /healthz and /readyz of a worker; off by default; 0: any free port",
    )
    metrics_host: str = Field(
        "127.0.0.1",
        min_length=1,  # of blanks nothing is left, and that would be every address
        max_length=255,
        validation_alias="EMBEDDING_METRICS_HOST",
        description="address the metrics port listens on; the default is not reachable from other hosts",
    )
