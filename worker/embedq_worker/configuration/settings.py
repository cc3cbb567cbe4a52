"""Every setting of the worker and the console: names, range and purpose; `loading` reads the values.

`database_settings` and `watch_settings` hold two groups of them. Secrets are SecretStr; only the database
driver and the OpenAI provider get to see the clear text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, Self

from pydantic import AliasChoices, Field, PrivateAttr, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from embedq_worker.configuration.database_settings import DatabaseSettings
from embedq_worker.configuration.urls import check_http_url
from embedq_worker.configuration.watch_settings import WatchSettings

ProviderName = Literal["ollama", "openai", "local"]
LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warn", "error"]

DEFAULT_MODELS: Mapping[ProviderName, tuple[str, int]] = {
    "ollama": ("nomic-embed-text", 768),
    "openai": ("text-embedding-3-small", 1536),
    "local": ("l2_supercat", 256),
}
"""Model and dimensions used when EMBEDDING_MODEL and EMBEDDING_DIMENSIONS are not set."""

MOST_CONCURRENCY = 256


def stated(value: str | None) -> str:
    """The value of a variable without blanks around it; empty if the variable counts as not set."""
    return (value or "").strip()


def _queue_names(name: str) -> AliasChoices:
    """Accept EMBEDDING_X as EMBEDDING_QUEUE_X too: article applications use either spelling."""
    return AliasChoices(name, name.replace("EMBEDDING_", "EMBEDDING_QUEUE_"))


class Settings(WatchSettings, DatabaseSettings):
    """All settings of worker and console; read with `loading.load_settings`."""

    model_config = SettingsConfigDict(
        extra="ignore",
        frozen=True,
        case_sensitive=False,
        populate_by_name=True,
        str_strip_whitespace=True,
        defer_build=False,
    )

    # -- what runs
    semantic_search_enabled: bool = Field(
        True,
        validation_alias="SEMANTIC_SEARCH_ENABLED",
        description="master switch for semantic search; false: workers exit at once",
    )
    queue_enabled: bool = Field(
        True,
        validation_alias="EMBEDDING_QUEUE_ENABLED",
        description="whether workers process the queue; false: they exit at once",
    )

    # -- provider
    provider: ProviderName = Field(
        "ollama", validation_alias="EMBEDDING_PROVIDER", description="what computes the vectors"
    )
    ollama_base_url: str = Field(
        "http://localhost:11434",
        repr=False,  # may hold a password
        validation_alias="OLLAMA_BASE_URL",
        description="URL of the Ollama server",
    )
    openai_api_key: SecretStr | None = Field(
        None,
        validation_alias="OPENAI_API_KEY",
        description="API key for the OpenAI-compatible server",
    )
    openai_base_url: str = Field(
        "https://api.openai.com/v1",
        repr=False,
        validation_alias="OPENAI_BASE_URL",
        description="URL of OpenAI or any compatible server",
    )
    model_name: str | None = Field(
        None,
        max_length=200,
        validation_alias="EMBEDDING_MODEL",
        description="embedding model; the default depends on the provider",
    )
    dimensions_wanted: int | None = Field(
        None,
        ge=1,
        le=16_000,
        validation_alias="EMBEDDING_DIMENSIONS",
        description="dimensions of a vector; the default depends on the provider",
    )
    request_inputs: int | None = Field(
        None,
        ge=1,
        le=2_048,
        validation_alias="EMBEDDING_REQUEST_INPUTS",
        description="texts per request; default by provider: ollama 32, openai 2048, local 256",
    )
    request_timeout_ms: int = Field(
        180_000,  # Ollama gives up loading a model when the client that waits for it is gone
        ge=100,
        le=3_600_000,
        validation_alias="EMBEDDING_REQUEST_TIMEOUT",
        description="timeout of one request to the provider, ms",
    )
    context_tokens: int | None = Field(
        None,
        ge=16,
        le=1_000_000,
        validation_alias="EMBEDDING_CONTEXT_TOKENS",
        description="context length requested from Ollama (num_ctx), in tokens; other providers ignore it",
    )

    # -- worker
    worker_interval_ms: int = Field(
        5_000,
        ge=50,
        le=3_600_000,
        validation_alias=_queue_names("EMBEDDING_WORKER_INTERVAL"),
        description="how often the worker polls when no notification wakes it, ms",
    )
    max_retries: int = Field(
        3,
        ge=1,
        le=1_000,
        validation_alias=_queue_names("EMBEDDING_MAX_RETRIES"),
        description="max_attempts of the tasks embedq queues",
    )
    retry_backoff_base_ms: int = Field(
        1_000,
        ge=1,
        le=3_600_000,
        validation_alias=_queue_names("EMBEDDING_RETRY_BACKOFF_BASE"),
        description="first retry delay, doubled with each attempt, ms",
    )
    retry_backoff_max_ms: int = Field(
        3_600_000,
        ge=1,
        le=604_800_000,
        validation_alias=_queue_names("EMBEDDING_RETRY_BACKOFF_MAX"),
        description="longest retry delay, ms",
    )
    batch_size: int = Field(
        1,
        ge=1,
        le=1_000,
        validation_alias=_queue_names("EMBEDDING_BATCH_SIZE"),
        description="tasks per claim",
    )
    concurrency: int = Field(
        1,
        ge=1,
        le=MOST_CONCURRENCY,
        validation_alias="EMBEDDING_CONCURRENT_WORKERS",
        description="concurrent requests to the provider",
    )
    cleanup_interval_h: float = Field(
        24,
        ge=0.01,
        le=8_760,
        validation_alias=_queue_names("EMBEDDING_CLEANUP_INTERVAL"),
        description="time between two cleanups, h",
    )
    cleanup_retention_days: int = Field(
        30,
        ge=1,
        le=36_500,
        validation_alias=_queue_names("EMBEDDING_CLEANUP_RETENTION_DAYS"),
        description="how long completed tasks, audit rows and metrics are kept, days",
    )
    worker_timeout_ms: int = Field(
        300_000,
        ge=1_000,
        le=86_400_000,
        validation_alias="EMBEDDING_WORKER_TIMEOUT",
        description="hard deadline for one batch, ms",
    )
    max_processing_time_ms: int = Field(
        1_800_000,
        ge=1_000,
        le=604_800_000,
        validation_alias="EMBEDDING_QUEUE_MAX_PROCESSING_TIME",
        description="a claim older than this is stuck, even if its worker is alive, ms",
    )
    stuck_cleanup_enabled: bool = Field(
        True,
        validation_alias="EMBEDDING_QUEUE_STUCK_TASK_CLEANUP_ENABLED",
        description="return stuck tasks to the queue",
    )
    heartbeat_interval_ms: int = Field(
        30_000,
        ge=300,
        le=600_000,
        validation_alias="EMBEDDING_QUEUE_HEARTBEAT_INTERVAL",
        description="a worker beats three times per interval; silent for 1.5, it is presumed dead, ms",
    )
    metrics_interval_ms: int = Field(
        60_000,
        ge=1_000,
        le=3_600_000,
        validation_alias="EMBEDDING_QUEUE_METRICS_INTERVAL",
        description="time between two samples of depth, throughput and utilization, ms",
    )
    shutdown_grace_ms: int = Field(
        30_000,
        ge=0,
        le=600_000,
        validation_alias="EMBEDDING_SHUTDOWN_GRACE",
        description="time allowed after SIGTERM to finish work in flight, ms",
    )

    # -- chunks
    chunk_size: int = Field(
        500, ge=10, le=20_000, validation_alias="CHUNK_SIZE", description="words per chunk"
    )
    chunk_overlap: int = Field(
        50,
        ge=0,
        le=10_000,
        validation_alias="CHUNK_OVERLAP",
        description="words that neighbouring chunks share",
    )

    # -- logs
    log_format: LogFormat = Field(
        "text", validation_alias="LOG_FORMAT", description="log lines as text or JSON"
    )
    log_level: LogLevel = Field(
        "info", validation_alias="LOG_LEVEL", description="lowest level that is logged"
    )

    _unread: str = PrivateAttr("")
    _unused: tuple[str, ...] = PrivateAttr(())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read options, the environment and the file, in this order; a blank value counts as not set."""
        for source in (env_settings, dotenv_settings):
            if isinstance(source, EnvSettingsSource):
                source.env_vars = {name: value for name, value in source.env_vars.items() if stated(value)}
        return init_settings, env_settings, dotenv_settings

    @model_validator(mode="before")
    @classmethod
    def _one_line_each(cls, values: dict[str, object]) -> dict[str, object]:
        """Refuse values of several lines: an unclosed quote swallows the lines below it, secrets too."""
        for name, value in values.items():
            if isinstance(value, str) and len(value.strip().splitlines()) > 1:
                raise ValueError(f"{name.upper()} contains a line break: is a quote left open?")
            if isinstance(value, str) and "\0" in value:
                raise ValueError(f"{name.upper()} contains a NUL character")
        return values

    @field_validator("provider", "log_format", "log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("ollama_base_url", "openai_base_url")
    @classmethod
    def _http_url(cls, value: str) -> str:
        return check_http_url(value)

    @model_validator(mode="after")
    def _cross_checks(self) -> Self:
        if self.chunk_overlap >= self.chunk_size:
            raise ValueError(
                f"CHUNK_OVERLAP={self.chunk_overlap} must be smaller than CHUNK_SIZE={self.chunk_size}"
            )
        if self.retry_backoff_max_ms < self.retry_backoff_base_ms:
            raise ValueError(
                "EMBEDDING_RETRY_BACKOFF_MAX must not be smaller than EMBEDDING_RETRY_BACKOFF_BASE"
            )
        if self.max_processing_time_ms < self.worker_timeout_ms:
            raise ValueError(
                "EMBEDDING_QUEUE_MAX_PROCESSING_TIME must not be shorter than EMBEDDING_WORKER_TIMEOUT: "
                "claims would be taken from workers that are still within their deadline"
            )
        return self

    @property
    def unread(self) -> str:
        """A sentence about lines of the settings file that could not be read; empty if there are none."""
        return self._unread

    def tell_sources(self, *, unread: str, unused: Iterable[str]) -> None:
        """Remember what `warnings` has to say about the sources of the values.

        Args:
            unread: A sentence about lines of the file that could not be read, or empty.
            unused: A sentence for each variable that is set but has no effect.
        """
        self._unread, self._unused = unread, tuple(unused)

    @property
    def model(self) -> str:
        """Model requested from the provider."""
        return self.model_name or DEFAULT_MODELS[self.provider][0]

    @property
    def dimensions(self) -> int:
        """Dimensions of a vector."""
        return self.dimensions_wanted or DEFAULT_MODELS[self.provider][1]

    @property
    def dead_after_s(self) -> float:
        """Seconds without a heartbeat after which a worker is presumed dead."""
        return self.heartbeat_interval_ms * 1.5 / 1000

    @property
    def beat_every_s(self) -> float:
        """Seconds between two heartbeats of one worker."""
        return self.heartbeat_interval_ms / 3000

    @property
    def longest_request_ms(self) -> int:
        """Milliseconds after which a worker abandons a request and blames the provider.

        Shorter than the deadline of the batch: once that has passed, a provider that hangs cannot be told
        from a batch that takes too long.
        """
        return self.worker_timeout_ms * 3 // 4

    @property
    def switched_off(self) -> str:
        """The variable that switches workers off; empty if none does."""
        if not self.semantic_search_enabled:
            return "SEMANTIC_SEARCH_ENABLED"
        return "" if self.queue_enabled else "EMBEDDING_QUEUE_ENABLED"

    def warnings(self) -> list[str]:
        """Combinations that work but are probably not intended, one line each."""
        found = [*filter(None, [self._unread]), *self._unused]
        if self.provider == "openai" and not self.openai_api_key and "api.openai.com" in self.openai_base_url:
            found.append("OPENAI_API_KEY is not set: OpenAI will refuse every request")
        default_model, default_dimensions = DEFAULT_MODELS[self.provider]
        if (
            self.model == default_model
            and self.provider == "ollama"  # other providers can be asked for fewer
            and self.dimensions != default_dimensions
        ):
            found.append(
                f"EMBEDDING_DIMENSIONS={self.dimensions}, but {self.model} returns {default_dimensions}: "
                "run `embedq-tui check`"
            )
        if self.chunk_overlap > self.chunk_size // 2:
            found.append(
                "CHUNK_OVERLAP is more than half of CHUNK_SIZE: most words are embedded twice or more"
            )
        if self.concurrency > 32 and self.provider == "ollama":
            found.append("EMBEDDING_CONCURRENT_WORKERS is more than one Ollama server usually handles")
        if (
            "request_timeout_ms" in self.model_fields_set
            and self.request_timeout_ms > self.longest_request_ms
        ):
            found.append(
                "EMBEDDING_REQUEST_TIMEOUT is longer than three quarters of EMBEDDING_WORKER_TIMEOUT, "
                "after which a worker abandons a request anyway"
            )
        if unused := self.unused_beside_url():
            found.append(f"DATABASE_URL is set and overrides {', '.join(unused)}")
        return found
