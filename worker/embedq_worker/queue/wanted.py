"""The filter of tasks that lists, actions and the console share."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from uuid import UUID

from embedq_worker.errors import UsageError
from embedq_worker.schema.task_values import PRIORITIES, STATUSES
from embedq_worker.text import age, stamp

_FINGERPRINT = re.compile(r"[0-9a-f]{8}")

CLOCKS_APART = timedelta(minutes=10)
"""How much the database's clock may be ahead of ours."""


def parse_article_id(text: str) -> int | None:
    """Parse the id of an article; None if the text is not one."""
    found = int(text) if re.fullmatch("[0-9]{1,10}", text) else None
    return found if found is not None and found < 2**31 else None  # int of PostgreSQL


@dataclass(frozen=True, slots=True)
class Stuck:
    """When a task in progress counts as stuck, see `insights.stuck`.

    Attributes:
        older_s: Its claim is older than this, whoever holds it.
        silent_s: Or its worker, one of ours, is gone or has sent no heartbeat for longer than this.
    """

    older_s: float
    silent_s: float

    def __str__(self) -> str:
        return f"claims older than {age(self.older_s)}, workers silent for {age(self.silent_s)} or gone"


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Tasks that match all of these conditions; None matches any task.

    The time of a task is when it is due (pending), was claimed (processing) or ended (completed, failed).

    Attributes:
        ids: Only these; None for any.
        statuses: Only these; empty for any.
        slug: Contained in the slug, in any case.
        error: Contained in the error, in any case.
        group: Fingerprint of a group of failures.
        worker: Held by this worker.
        since: Time at or after this; a duration counts back from now, by the database's clock.
        until: Time at or before this.
        operation: Queued by this bulk operation.
        kind: Operation of the task: ``create``, ``update``, ``delete``.
        metadata: A JSON object contained in the metadata of the task.
        stuck: In progress, and stuck at the time of the query.
        id_begins: Beginning of the id: hexadecimal digits, without hyphens.
        worker_begins: Held by a worker whose id begins with this: the same.
        folder: Of an article in this folder or a subfolder; slashes around it do not matter.
    """

    ids: tuple[UUID, ...] | None = None
    statuses: tuple[str, ...] = ()
    priority: str | None = None
    slug: str | None = None
    error: str | None = None
    group: str | None = None
    article: int | None = None
    worker: UUID | None = None
    since: datetime | timedelta | None = None
    until: datetime | timedelta | None = None
    operation: UUID | None = None
    kind: str | None = None
    metadata: str | None = None
    stuck: Stuck | None = None
    id_begins: str | None = None
    worker_begins: str | None = None
    folder: str | None = None

    def __post_init__(self) -> None:
        if self.priority not in (None, *PRIORITIES) or not set(self.statuses) <= set(STATUSES):
            raise UsageError(f"no such status or priority: {self.describe()}")
        if self.group is not None and not _FINGERPRINT.fullmatch(self.group):
            raise UsageError(
                f"{self.group!r} is not the fingerprint of a group", "list them: embedq-tui failed"
            )
        if self.folder is not None and not self.folder.strip("/"):
            raise UsageError("the folder is empty", "omit it for the articles of all folders")

    def require_possible(self) -> None:
        """Refuse conditions that exclude each other.

        Raises:
            UsageError: No task can ever match them.
        """
        left = self.statuses or STATUSES
        for given, what, status in (
            (self.group, "tasks of a group have failed", "failed"),
            (self.worker or self.worker_begins, "tasks held by a worker are processing", "processing"),
        ):
            if given is None:
                continue
            if status not in left:
                raise UsageError(f"{what}, so none is {' or '.join(left)}")
            left = (status,)
        now = datetime.now().astimezone()
        since, until = (
            now - when if isinstance(when, timedelta) else when for when in (self.since, self.until)
        )
        if since and until and since > until:
            raise UsageError(f"since {_told(self.since)} is later than until {_told(self.until)}")
        if since and since > now + CLOCKS_APART and "pending" not in left:
            raise UsageError(
                f"since {_told(self.since)} is in the future, when tasks can only be due (pending)"
            )

    def only(self, *statuses: str) -> TaskFilter:
        """The same filter, restricted to these statuses."""
        wanted = tuple(status for status in statuses if not self.statuses or status in self.statuses)
        # Without a common status no task matches, but a filter without statuses would match all.
        return replace(self, statuses=wanted) if wanted else replace(self, ids=())

    def describe(self) -> str:
        """The filter in words, for confirmations: ``failed tasks of priority high since 2 h ago``."""
        words = [" or ".join(self.statuses), "tasks"]
        if self.ids:
            words.append(str(self.ids[0]) if len(self.ids) == 1 else f"out of {len(self.ids):,} given ids")
        for given, text in (
            (self.priority, "of priority {}"),
            (self.id_begins, "whose id begins with {}"),
            (self.article, "of article {}"),
            (self.slug, "with {!r} in the slug"),
            (self.folder, "of folder {!r}"),
            (self.error, "with {!r} in the error"),
            (self.group, "of group {}"),
            (self.worker, "held by worker {}"),
            (self.worker_begins, "held by a worker whose id begins with {}"),
            (self.operation, "of bulk operation {}"),
            (self.kind, "of kind {}"),
            (self.metadata, "with {} in their metadata"),
            (self.since, "since {}"),
            (self.until, "until {}"),
            (self.stuck, "that are stuck ({})"),
        ):
            if given is not None:
                words.append(text.format(_told(given)))
        return " ".join(filter(None, words))

    def document(self) -> dict[str, object]:
        """The conditions, for the audit log; many ids are replaced by their number."""
        found: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "ids" and value is not None:
                found["ids"] = [str(task) for task in value] if len(value) <= 10 else len(value)
            elif isinstance(value, datetime):
                found[field.name] = stamp(value, "seconds")
            elif value is not None and value != ():
                found[field.name] = list(value) if isinstance(value, tuple) else _told(value)
        return found


def _told(value: object) -> str | int:
    match value:
        case timedelta():
            return f"{age(value.total_seconds())} ago"
        case datetime():
            return value.isoformat(timespec="seconds")
        case int():
            return value
    return str(value)
