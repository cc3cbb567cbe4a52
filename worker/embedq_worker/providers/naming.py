"""The model name stored with each vector; vectors with different names are not comparable."""

from __future__ import annotations

from collections.abc import Mapping

from embedq_worker.configuration.settings import Settings

NATIVE_DIMENSIONS: Mapping[str, int] = {
    "text-embedding-3-small": 1_536,
    "text-embedding-3-large": 3_072,
    "l2_supercat": 256,
}
"""Native dimensions of the models that can be asked for fewer."""


def native_dimensions(settings: Settings) -> int | None:
    """Native dimensions of the model in these settings; None if it cannot be asked for fewer."""
    return NATIVE_DIMENSIONS.get(settings.model.rpartition("/")[2])


def stored_model(settings: Settings) -> str:
    """`Provider.model` for these settings, without opening a provider."""
    name = f"{settings.provider}/{settings.model}"
    native = native_dimensions(settings)
    shortened = settings.provider != "ollama" and native and settings.dimensions_wanted not in (None, native)
    return f"{name}@{settings.dimensions}" if shortened else name
