"""Filters of the audit log as one line of text: ``level:warn article:intro since:2h "timed out"``.

All terms must match. Bare words must occur, as typed, in the message, the error or the metadata, which
includes the operator's name.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from embedq_tui.filters.names import Name, logged_task_named, task_name
from embedq_tui.filters.syntax import complete_term, quoted, refuse_key, terms, word_of
from embedq_tui.filters.values import LEAST_DIGITS, parse_past
from embedq_worker.database.connections import Connection
from embedq_worker.errors import UsageError
from embedq_worker.insights.audit import CATEGORIES, LEVELS, AuditFilter, require_operation
from embedq_worker.insights.detail import article_id

ORDINARY = "info"
"""Level if none is given: the debug rows of every step only matter when looking at a single task."""

EXAMPLE = "level:warn category: task:ID article:SLUG operation:ID since:2h, and words: an operator, an error"

KEYS = ("level", "category", "task", "article", "operation", "since")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The rows to show.

    Attributes:
        filter: Everything but the task and the article.
        task: Its id, or the beginning of it.
        article: Its id or slug, as typed.
        typed: The whole text, as typed.
    """

    filter: AuditFilter = field(default_factory=lambda: AuditFilter(level=ORDINARY))
    task: Name | None = None
    article: str | None = None
    typed: str = ""

    async def look_up(self, connection: Connection) -> AuditFilter:
        """The complete filter.

        Args:
            connection: To the migrated database.

        Raises:
            EmbedqError: There is no such task, article or operation.
        """
        found = self.filter
        if self.task is not None:
            found = replace(found, task=await logged_task_named(connection, self.task))
        if self.article is not None:
            found = replace(found, article=await article_id(connection, self.article))
        if found.operation is not None:
            await require_operation(connection, found.operation)
        return found

    def at_level(self, level: str) -> Wanted:
        """The same filter at another level."""
        rest = ((key, quoted(value)) for key, value in terms(self.typed, KEYS) if key != "level")
        typed = " ".join([f"level:{level}", *(f"{key}:{value}" if key else value for key, value in rest)])
        return replace(self, filter=replace(self.filter, level=level), typed=typed)


def parse_filter(typed: str) -> Wanted:
    """Parse a filter.

    Raises:
        UsageError: It is invalid.
    """
    given: dict[str, str] = {}
    words = []
    for key, value in terms(typed, KEYS):
        if not key:
            refuse_key(value, KEYS)
            words.append(value)
        elif not value or key in given:
            raise UsageError(f"{key}: needs a value" if not value else f"{key}: is given twice")
        else:
            given[key] = value
    one_thing = given.keys() & {"task", "operation"}
    level = _word("level", given, LEVELS) or (LEVELS[0] if one_thing else ORDINARY)
    found = AuditFilter(
        level=level,
        category=_word("category", given, CATEGORIES),
        operation=given.get("operation"),
        text=" ".join(words) or None,
    )
    if "since" in given:
        try:
            found = replace(found, since=parse_past(given["since"]))
        except ValueError as error:
            raise UsageError(
                "since: needs 30m, 2h, 3d (ago) or a past time such as 2026-11-24T15:00, not "
                + given["since"]
            ) from error
    task = _task(given["task"]) if "task" in given else None
    return Wanted(found, task, given.get("article"), typed.strip())


def death_of(worker: UUID, died_at: datetime) -> Wanted:
    """The rows of a worker's death, and of the tasks that were taken back from it.

    Args:
        worker: Its id.
        died_at: When it was declared dead.
    """
    found = AuditFilter(level="warn", since=died_at, text=str(worker))
    return Wanted(found, typed=f"level:warn since:{died_at.isoformat()} {worker}")


def _task(text: str) -> Name:
    if (name := task_name(text)) is None:
        raise UsageError(f"task: needs a task's id or at least its first {LEAST_DIGITS} digits, not {text}")
    return name


def _word(key: str, given: dict[str, str], known: tuple[str, ...]) -> str | None:
    return word_of(key, given[key], known) if key in given else None


def complete(typed: str) -> str | None:
    """Complete the last term of a filter being typed; None if there is no completion."""
    return complete_term(typed, KEYS, {"level": LEVELS, "category": CATEGORIES})
