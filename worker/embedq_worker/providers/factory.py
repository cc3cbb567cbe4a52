"""Create the provider named in the settings; only its own libraries are imported."""

from __future__ import annotations

from embedq_worker.configuration.settings import Settings
from embedq_worker.providers.base import Provider


def open_provider(settings: Settings) -> Provider:
    """Create the provider; nothing is sent or loaded before its first use.

    Args:
        settings: As loaded.

    Returns:
        A provider, which must be closed with `aclose`.

    Raises:
        ProviderMisconfigured: The settings alone show that it cannot work.
    """
    match settings.provider:
        case "ollama":
            from embedq_worker.providers.ollama import OllamaProvider

            return OllamaProvider(settings)
        case "openai":
            from embedq_worker.providers.openai import OpenAIProvider

            return OpenAIProvider(settings)
        case "local":
            from embedq_worker.providers.local import LocalProvider

            return LocalProvider(settings)
