"""The opt-in trigger on `articles` that queues what any program saves, changes or deletes; see sql/013."""

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

    Whether the article program queues by itself as well cannot be seen from here; if it does, its tasks and
    ours for one save are done as one.

    Attributes:
        events: What it is installed for, of ``insert``, ``update`` and ``delete``; the last is left out
            where a task needs an article.
        disabled: Of these, what somebody switched off.
        max_attempts: Of the tasks it queues; None where it is not installed.
    """

    events: tuple[str, ...]
    disabled: tuple[str, ...]
    max_attempts: int | None

    @property
    def installed(self) -> bool:
        """Saves and changes are both seen to."""
        return {"insert", "update"} <= set(self.events)

    @property
    def enabled(self) -> bool:
        """Installed, and nothing of it is switched off."""
        return self.installed and not self.disabled


async def status(connection: Connection) -> ArticleTrigger:
    """Look whether the trigger is there and works.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """
    row = await connection.fetchrow(_STATUS)
    assert row is not None
    return ArticleTrigger(tuple(row["events"]), tuple(row["disabled"]), row["max_attempts"])


async def install(connection: Connection, *, max_attempts: int, by: str = "", tries: int = TRIES) -> bool:
    """Install the trigger, or put right what is there.

    Args:
        connection: To a migrated database, of a role that may create triggers on `articles`.
        max_attempts: Of the tasks it queues.
        by: Operator as ``user@host``, for the audit log; empty for no row there.
        tries: How often a lock is asked for that others hold.

    Returns:
        False where it was there already.

    Raises:
        EmbedqError: `articles` was locked by others all the time.
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
        connection: To a migrated database, of a role that owns `articles`.
        by: Operator as ``user@host``, for the audit log; empty for no row there.

    Returns:
        False where there was none.

    Raises:
        EmbedqError: `articles` was locked by others all the time.
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
            # While DDL waits for writers of `articles`, new ones wait behind it: so not for long.
            await connection.execute("SET LOCAL lock_timeout = '1s'")
            return await once()

    held = EmbedqError(
        "other sessions hold the table articles",
        "end long transactions (pg_stat_activity tells which), then try again",
    )
    return await until_free(shortly, held, tries=tries, pause=_PAUSE)
