"""Sources of embeddings: `open_provider` gives the one the settings name."""

from embedq_worker.providers.factory import open_provider
from embedq_worker.providers.tokens import estimate_tokens

__all__ = ["estimate_tokens", "open_provider"]
