"""Sources of embeddings."""
