"""The optional trigger on `articles` that queues what any program inserts, updates or deletes: sql/013."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from embedq_worker.backoff import Backoff
from embedq_worker.database.connections import Connection
from embedq_worker.database.locks import until_free
from embedq_worker.errors import EmbedqError
from embedq_worker.queue import operator_log

TRIES = 10
_PAUSE = Backoff(0.2, 5.0)

_STATUS = """
SELECT coalesce(array_agg(replace(tgname, 'embedq_article_', '') ORDER BY tgname), '{}') AS events,
       coalesce(array_agg(replace(tgname, 'embedq_article_', '') ORDER BY tgname)
                FILTER (WHERE tgenabled NOT IN ('O', 'A')), '{}') AS disabled,
       min(split_part(encode(tgargs, 'escape'), E'\\\\000', 1))::int AS max_attempts
FROM pg_trigger WHERE tgrelid = to_regclass('articles') AND tgname LIKE E'embedq\\\\_article\\\\_%'
"""


@dataclass(frozen=True, slots=True)
class ArticleTrigger:
    """State of the trigger.

    The article application may queue tasks itself as well, which cannot be seen from here; its task and ours
    for one save are then processed as one.

    Attributes:
        events: Events it is installed for: ``insert``, ``update`` and ``delete``; without the last if a task
            must reference an existing article.
        disabled: Events whose trigger is disabled.
        max_attempts: max_attempts of the tasks it queues; None if it is not installed.
    """

    events: tuple[str, ...]
    disabled: tuple[str, ...]
    max_attempts: int | None

    @property
    def installed(self) -> bool:
        """Inserts and updates are both covered."""
        return {"insert", "update"} <= set(self.events)

    @property
    def enabled(self) -> bool:
        """Installed, and not disabled for any event."""
        return self.installed and not self.disabled


async def status(connection: Connection) -> ArticleTrigger:
    """Report whether the trigger is installed and enabled.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """
    row = await connection.fetchrow(_STATUS)
    assert row is not None
    return ArticleTrigger(tuple(row["events"]), tuple(row["disabled"]), row["max_attempts"])


async def install(connection: Connection, *, max_attempts: int, by: str = "", tries: int = TRIES) -> bool:
    """Install the trigger, or repair it.

    Args:
        connection: To a migrated database, as a role that may create triggers on `articles`.
        max_attempts: max_attempts of the tasks it queues.
        by: Operator as ``user@host``, for the audit log; empty for no audit row.
        tries: How often to try for the lock.

    Returns:
        False if it was already installed.

    Raises:
        EmbedqError: Other sessions held locks on `articles` all the time.
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """

    async def once() -> bool:
        changed = await connection.fetchval("SELECT embedq_article_trigger_install($1)", max_attempts)
        if changed and by:
            await operator_log.note(connection, "triggers installed", by, max_attempts=max_attempts)
        return bool(changed)

    return await _with_short_locks(connection, once, tries)


async def remove(connection: Connection, *, by: str = "") -> bool:
    """Remove the trigger; tasks that it queued stay.

    Args:
        connection: To a migrated database, as the owner of `articles`.
        by: Operator as ``user@host``, for the audit log; empty for no audit row.

    Returns:
        False if it was not installed.

    Raises:
        EmbedqError: Other sessions held locks on `articles` all the time.
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """

    async def once() -> bool:
        changed = await connection.fetchval("SELECT embedq_article_trigger_remove()")
        if changed and by:
            await operator_log.note(connection, "triggers removed", by)
        return bool(changed)

    return await _with_short_locks(connection, once, TRIES)


async def _with_short_locks(connection: Connection, once: Callable[[], Awaitable[bool]], tries: int) -> bool:
    async def shortly() -> bool:
        async with connection.transaction():
            # While DDL waits for writers of `articles`, new writers queue behind it: it must not wait long.
            await connection.execute("SET LOCAL lock_timeout = '1s'")
            return await once()

    held = EmbedqError(
        "other sessions hold locks on the table articles",
        "end long transactions (see pg_stat_activity), then try again",
    )
    return await until_free(shortly, held, tries=tries, pause=_PAUSE)
