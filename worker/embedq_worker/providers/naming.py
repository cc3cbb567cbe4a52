"""The name that is stored with each vector: vectors of two names are not comparable."""

from __future__ import annotations

from collections.abc import Mapping

from embedq_worker.settings import Settings

NATIVE_DIMENSIONS: Mapping[str, int] = {
    "text-embedding-3-small": 1_536,
    "text-embedding-3-large": 3_072,
    "l2_supercat": 256,
}
"""Of the models that can be asked for fewer components than they have."""


def native_dimensions(settings: Settings) -> int | None:
    """Components of the model of these settings; None where it cannot be asked for fewer."""
    return NATIVE_DIMENSIONS.get(settings.model.rpartition("/")[2])


def stored_model(settings: Settings) -> str:
    """Name of the model of these settings, as `Provider.model` has it; no provider is needed to know it."""
    name = f"{settings.provider}/{settings.model}"
    native = native_dimensions(settings)
    shortened = settings.provider != "ollama" and native and settings.dimensions_wanted not in (None, native)
    return f"{name}@{settings.dimensions}" if shortened else name
