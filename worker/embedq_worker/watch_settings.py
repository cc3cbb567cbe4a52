"""Settings of those who watch the queue: what `health` objects to, and where metrics are served."""

from __future__ import annotations

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class WatchSettings(BaseSettings):
    """A part of `settings.Settings`."""

    model_config = SettingsConfigDict(defer_build=True)  # nobody makes one

    health_backlog: int = Field(
        10_000,
        ge=1,
        le=1_000_000_000,
        validation_alias=AliasChoices("EMBEDDING_HEALTH_BACKLOG"),
        description="health objects to more pending tasks than this",
    )
    health_wait_s: int = Field(
        3_600,
        ge=1,
        le=31_536_000,
        validation_alias=AliasChoices("EMBEDDING_HEALTH_WAIT"),
        description="health objects to a task that has been due for longer and is not claimed, s",
    )
    health_stall_s: int = Field(
        600,
        ge=60,
        le=31_536_000,
        validation_alias=AliasChoices("EMBEDDING_HEALTH_STALL"),
        description="health objects to workers that hold tasks and finish none for longer, s",
    )
    health_stuck: int = Field(
        0,
        ge=0,
        le=1_000_000_000,
        validation_alias=AliasChoices("EMBEDDING_HEALTH_STUCK"),
        description="health objects to more stuck tasks than this",
    )
    health_failure_rate: float = Field(
        0.1,
        ge=0,
        le=1,
        validation_alias=AliasChoices("EMBEDDING_HEALTH_FAILURE_RATE"),
        description="health objects to a bigger share of failures among what ended in an hour or a day",
    )
    health_dead_rows: float = Field(
        0.5,
        ge=0,
        le=1,
        validation_alias=AliasChoices("EMBEDDING_HEALTH_DEAD_ROWS"),
        description="health objects to a bigger share of dead rows in the queue table",
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        validation_alias=AliasChoices("EMBEDDING_METRICS_PORT"),
        description="a worker serves /metrics, /healthz and /readyz here; not at all by default; 0: any port",
    )
    metrics_host: str = Field(
        "127.0.0.1",
        max_length=255,
        validation_alias=AliasChoices("EMBEDDING_METRICS_HOST"),
        description="address on which it does; by default other hosts cannot reach it",
    )
