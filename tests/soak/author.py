"""An article application that goes on saving, editing and deleting while everything around it breaks."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncpg

from embedq_worker.database.failures import EXPECTED_ERRORS
from tests.support.content import add_articles, queue_tasks
from tests.support.databases import Connection, Database

FEWEST, MOST = 40, 160
"""Open tasks it keeps the queue at, so that a fault always meets work in hand."""

ATTEMPTS = 100
"""Of its tasks: whose workers are killed by the hundred must not count as what kills them."""

_WORDS = ("queue", "worker", "claim", "token", "vector", "article", "chunk", "heartbeat", "breaker", "audit")
_OPEN = "SELECT coalesce(sum(n), 0)::int FROM embedq_live_counts WHERE status IN ('pending', 'processing')"
_ANY = "SELECT id FROM articles ORDER BY random() LIMIT 1"
_IN_HAND = """SELECT article_id FROM embedding_tasks WHERE status = 'processing' AND article_id IS NOT NULL
              ORDER BY random() LIMIT $1"""


class Author:
    """The application; `run` writes until it is cancelled.

    Args:
        database: Its database, not by way of the proxy: it is the workers that are to be cut off.
        chance: Decides what it does.

    Attributes:
        errors: What the database answered that no fault explains: deadlocks.
    """

    def __init__(self, database: Database, chance: random.Random) -> None:
        self._database = database
        self._chance = chance
        self._saved = 0
        self._owed: set[int] = set()
        self.errors: Counter[str] = Counter()

    async def run(self) -> None:
        """Write for ever; ends by cancellation only."""
        while True:
            with suppress(*EXPECTED_ERRORS):
                connection = await asyncpg.connect(self._database.url, timeout=5, command_timeout=20)
                try:
                    while True:
                        await self._write(connection)
                finally:
                    connection.terminate()
            await asyncio.sleep(0.1)

    async def prepare(self, connection: Connection, articles: int) -> None:
        """Save the first articles."""
        for _ in range(articles):
            await self._save(connection)

    async def settle(self, connection: Connection) -> None:
        """Queue the tasks of texts that were saved apart from them, where something came between."""
        for article in self._owed:
            await self._queue(connection, article)

    async def disturb(self, connection: Connection, articles: int) -> int:
        """Edit or delete articles that are being embedded at this moment.

        Returns:
            How many.
        """
        rows = await connection.fetch(_IN_HAND, articles)
        for row in rows:
            change = self._chance.choice([self._edit, self._edit, self._edit_apart, self._hide, self._delete])
            await self._tried(change, connection, row["article_id"])
        return len(rows)

    async def _write(self, connection: Connection) -> None:
        waiting: int = await connection.fetchval(_OPEN)
        if waiting > MOST:
            await asyncio.sleep(0.1)
            return
        for _ in range(30 if waiting < FEWEST else 4):
            await self._act(connection)
        await asyncio.sleep(0.05)

    async def _act(self, connection: Connection) -> None:
        change = self._chance.choices(
            [None, self._edit, self._edit_apart, self._hide, self._delete], weights=[30, 45, 10, 5, 10]
        )[0]
        if change is None:
            await self._save(connection)
        elif (article := await connection.fetchval(_ANY)) is not None:
            await self._tried(change, connection, article)

    async def _tried(
        self, change: Callable[[Connection, int], Awaitable[None]], connection: Connection, article: int
    ) -> None:
        try:
            await change(connection, article)
        except asyncpg.DeadlockDetectedError as error:
            self.errors[str(error.detail or error)[:300]] += 1

    # -- what it does; the text and the task of a change are saved together

    async def _save(self, connection: Connection) -> None:
        self._saved += 1
        async with connection.transaction():
            articles = await add_articles(connection, [self._text()], slug=f"note-{self._saved}")
            await queue_tasks(connection, articles, priority=self._priority(), max_attempts=ATTEMPTS)

    async def _edit(self, connection: Connection, article: int) -> None:
        async with connection.transaction():
            await self._rewrite(connection, article)
            await self._queue(connection, article)

    async def _edit_apart(self, connection: Connection, article: int) -> None:
        """The text first, the task a moment later: what is in hand meanwhile is of neither."""
        self._owed.add(article)
        await self._rewrite(connection, article)
        await asyncio.sleep(self._chance.uniform(0, 0.05))
        await self._queue(connection, article)
        self._owed.discard(article)

    async def _hide(self, connection: Connection, article: int) -> None:
        async with connection.transaction():
            await connection.execute("UPDATE articles SET no_rag = NOT no_rag WHERE id = $1", article)
            await self._queue(connection, article)

    async def _delete(self, connection: Connection, article: int) -> None:
        await connection.execute("DELETE FROM articles WHERE id = $1", article)

    async def _rewrite(self, connection: Connection, article: int) -> None:
        """A new text, or a paragraph more: then the chunks before it are not sent again."""
        text = self._text()
        if self._chance.random() < 0.5:
            await connection.execute("UPDATE articles SET content = $2 WHERE id = $1", article, text)
        else:
            await connection.execute(
                """UPDATE articles
                   SET content = CASE WHEN length(content) < 3000 THEN content || $2 ELSE $2 END
                   WHERE id = $1""",
                article,
                f"\n\n{text}",
            )

    async def _queue(self, connection: Connection, article: int) -> None:
        """Queue a task, where the article still exists."""
        await connection.execute(
            """INSERT INTO embedding_tasks (article_id, slug, operation, priority, max_attempts)
               SELECT id, slug, 'update', $2, $3 FROM articles WHERE id = $1 FOR KEY SHARE""",
            article,
            self._priority(),
            ATTEMPTS,
        )

    def _priority(self) -> str:
        return self._chance.choices(["high", "normal", "low"], weights=[1, 6, 3])[0]

    def _text(self) -> str:
        words = self._chance.choices(_WORDS, k=self._chance.choice([3, 20, 60, 150]))
        heading = f"## {self._chance.choice(_WORDS)} {self._chance.randrange(1000)}\n\n"
        return heading * self._chance.randint(0, 1) + " ".join(words) + "."
