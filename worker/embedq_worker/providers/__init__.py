"""Sources of embeddings; `open_provider` returns the one named in the settings."""

from embedq_worker.providers.factory import open_provider
from embedq_worker.providers.tokens import estimate_tokens

__all__ = ["estimate_tokens", "open_provider"]
