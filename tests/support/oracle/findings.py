"""What can be wrong with a database after a run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Kinds of findings, each with a column in the report."""

    MISSING = "an article has no embeddings, or not all"
    UNDONE = "a task was not seen through"
    STALE = "embeddings are of another text"
    MODEL = "embeddings are by another model"
    VECTOR = "a vector is not that of its text"
    SURPLUS = "embeddings that nobody should find"
    TWICE = "an article was in two hands"
    INTRUDER = "a write without the claim"
    STATE = "a task is in an impossible state"
    HISTORY = "a task has an impossible history"
    CHARGED = "an attempt was charged for what was nobody's fault"
    COUNTS = "the kept counts are not those of the table"


LOST = frozenset({Kind.MISSING, Kind.UNDONE})
DUPLICATED = frozenset({Kind.SURPLUS, Kind.TWICE, Kind.INTRUDER})
STALE = frozenset({Kind.STALE, Kind.MODEL, Kind.VECTOR})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: What is wrong.
        subject: An article, a task, a status: where to look.
        detail: What was found, and what was expected.
    """

    kind: Kind
    subject: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind} ({self.subject}): {self.detail}"
