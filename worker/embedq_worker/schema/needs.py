"""Why an article needs embedding: the words of sql/012_bulk, for those who list and those who queue."""

from __future__ import annotations

from enum import StrEnum


class Category(StrEnum):
    """What is wrong with the embeddings of an article; the first that fits."""

    NO_RAG = "no_rag"
    """It is not to be embedded and has embeddings: they are removed."""
    FAILED = "failed"
    """Its last task failed, and its embeddings are not those of its text."""
    MISSING = "missing"
    """It has text and no embeddings, or none with a vector."""
    STALE = "stale"
    """Its embeddings are of another text, or not all have a vector; another program's: older than the last
    save."""
    MODEL = "model"
    """Its embeddings are by another model, or by an unknown one."""
