"""Sources of embeddings; `factory.open_provider` returns the one named in the settings."""
