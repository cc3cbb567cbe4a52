"""Why an article needs embedding: the categories of sql/012_bulk, for listing and for queueing."""

from __future__ import annotations

from enum import StrEnum


class Category(StrEnum):
    """What is wrong with the embeddings of an article; the first that applies."""

    NO_RAG = "no_rag"
    """It is excluded from embedding but has embeddings, which are to be removed."""
    FAILED = "failed"
    """Its last task failed, and its embeddings do not match its text."""
    MISSING = "missing"
    """It has text but no embeddings, or none with a vector."""
    STALE = "stale"
    """Its embeddings are of an older text, or some lack a vector. For embeddings of another program: they are
    older than the article's last update."""
    MODEL = "model"
    """Its embeddings are from another model, or from an unknown one."""
