"""The queue as a state machine: whatever happens, counts are exact and the last word holds.

One session may have a transaction open while all the others go on; what would have to wait for it gives up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from embedq_worker.queue.claims import ClaimedTask, ReturnKind, Scope
from tests.support.databases import Connection, Server
from tests.support.queue_world import RESET, World, open_world

T = TypeVar("T")

TEXTS = st.lists(st.sampled_from(["A.", "B.", "C.", "D."]), max_size=4).map("\n".join)
NUMBER = st.integers(0, 2**20)
PRIORITY = st.sampled_from(["high", "normal", "low"])

EDIT = "UPDATE articles SET content = $2 WHERE id = $1"
REPLACE = f"""WITH replaced AS ({EDIT} RETURNING id) INSERT INTO embedding_tasks (article_id, operation)
              SELECT id, unnest(ARRAY['delete', 'update']) FROM replaced"""

ASIDE: Mapping[str, str] = {
    "edits": EDIT,
    "asks for a removal": "SELECT $1::int, $2::text",
    "deletes": "DELETE FROM articles WHERE id = $1 AND $2::text IS NOT NULL",
    "lowers": "UPDATE embedding_tasks SET priority = 'low' WHERE article_id = $1 AND $2::text IS NOT NULL",
    "resets": """UPDATE embedding_tasks SET status = 'pending', processed_at = NULL
                 WHERE status = 'processing' AND article_id = $1 AND $2::text IS NOT NULL""",
    "locks": "SELECT FROM articles WHERE id = $1 AND $2::text IS NOT NULL FOR UPDATE",
}
"""What is done in a transaction that stays open, to an article and with a text."""


class QueueMachine(RuleBasedStateMachine):
    """One queue, several workers of ours and others; the same database for every run.

    Attributes:
        runner: Runs what is asynchronous.
        world: What it acts on.
        wanted: By article, whether the last task about it wants embeddings; without those whose last task
            somebody took away.
        held: What workers have in hand, as far as they know.
        aside: A session whose transactions stay open.
        open: What is done in the one that is: the deed, the article, how many words had been said by then.
        last_word: By article, how many words had been said with the last one about it.
    """

    runner: asyncio.Runner
    world: World
    aside: Connection

    def __init__(self) -> None:
        super().__init__()
        self.words = 0
        self.last_word: dict[int, int] = {}
        self.open: tuple[str, int, int] | None = None
        self.wanted: dict[int, bool] = {}
        self.held: dict[UUID, list[ClaimedTask]] = {}
        self.scopes: dict[UUID, Scope] = {}

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def sql(self, statement: str, *arguments: object) -> bool:
        """Do something at psql.

        Returns:
            False where it would have had to wait.
        """
        try:
            self.run(self.world.psql.execute(statement, *arguments))
        except asyncpg.LockNotAvailableError:
            return False
        return True

    def say(self, article: int, wanted: bool) -> None:
        """The last word about an article is this."""
        self.words += 1
        self.last_word[article] = self.words
        self.wanted[article] = wanted

    def some(self, number: int) -> int:
        """One of the articles."""
        articles = sorted(self.articles())
        return articles[number % len(articles)]

    def articles(self) -> list[int]:
        rows = self.run(self.world.psql.fetch("SELECT id FROM articles"))
        return [row["id"] for row in rows]

    # -- what others do

    @initialize()
    def empty(self) -> None:
        self.sql("TRUNCATE articles CASCADE")
        self.sql("DELETE FROM embedq_workers")

    @rule(text=TEXTS, priority=PRIORITY)
    def saves_an_article(self, text: str, priority: str) -> None:
        article = self.run(self.world.article(text))
        self.run(self.world.task(article, "create", priority, made_s=0))
        self.say(article, True)

    @precondition(lambda self: self.articles())
    @rule(number=NUMBER, text=TEXTS, priority=PRIORITY, replaces=st.booleans())
    def edits_an_article(self, number: int, text: str, priority: str, replaces: bool) -> None:
        article = self.some(number)
        if not self.sql(REPLACE if replaces else EDIT, article, text):
            return
        if replaces:
            self.say(article, True)
        else:
            self.queue(article, "update", priority)

    @precondition(lambda self: self.articles())
    @rule(number=NUMBER, no_rag=st.booleans())
    def turns_embedding_on_or_off(self, number: int, no_rag: bool) -> None:
        article = self.some(number)
        if self.sql("UPDATE articles SET no_rag = $2 WHERE id = $1", article, no_rag):
            self.queue(article, "update")

    @precondition(lambda self: self.articles())
    @rule(number=NUMBER, priority=PRIORITY)
    def asks_for_a_removal(self, number: int, priority: str) -> None:
        self.queue(self.some(number), "delete", priority)

    @precondition(lambda self: self.articles())
    @rule(number=NUMBER)
    def deletes_an_article(self, number: int) -> None:
        article = self.some(number)
        if self.sql("DELETE FROM articles WHERE id = $1", article):
            self.wanted.pop(article, None)

    @rule(statement=st.sampled_from(["TRUNCATE embedding_tasks", "DELETE FROM embedding_tasks"]))
    def takes_all_tasks_away(self, statement: str) -> None:
        if self.sql(statement):
            self.wanted.clear()

    @rule()
    def cancels_what_is_pending(self) -> None:
        try:
            rows = self.run(
                self.world.psql.fetch(
                    """UPDATE embedding_tasks SET status='failed', error_message='Cancelled by administrator'
                       WHERE status='pending' RETURNING article_id"""
                )
            )
        except asyncpg.LockNotAvailableError:
            return
        for row in rows:
            self.wanted.pop(row["article_id"], None)

    @rule()
    def resets_what_is_stuck(self) -> None:
        self.sql(
            "UPDATE embedding_tasks SET processed_at = now() - interval '1 hour' WHERE status='processing'"
        )
        self.sql(RESET)

    @rule()
    def claims_as_a_foreign_worker(self) -> None:
        self.sql(
            """UPDATE embedding_tasks SET status = 'processing', processed_at = now()
               WHERE id = (SELECT id FROM embedding_tasks WHERE status = 'pending'
                           ORDER BY created_at LIMIT 1)"""
        )

    @rule()
    def changes_its_mind(self) -> None:
        async def rolled_back() -> None:
            transaction = self.world.psql.transaction()
            await transaction.start()
            with suppress(asyncpg.LockNotAvailableError):
                await self.world.psql.execute(
                    "UPDATE embedding_tasks SET status = 'failed', priority = 'low'"
                )
                await self.world.psql.execute("DELETE FROM articles")
            await transaction.rollback()

        self.run(rolled_back())

    @rule(count=st.integers(0, 5))
    def copies_tasks_in(self, count: int) -> None:
        rows = [("delete", "low", status) for status in ("pending", "completed", "failed")[:count]]
        self.run(
            self.world.psql.copy_records_to_table(
                "embedding_tasks", records=rows, columns=["operation", "priority", "status"]
            )
        )

    # -- what is begun and not ended for a while

    @precondition(lambda self: self.open is None and self.articles())
    @rule(number=NUMBER, text=TEXTS, deed=st.sampled_from(sorted(ASIDE)))
    def begins_a_transaction(self, number: int, text: str, deed: str) -> None:
        article = self.some(number)

        async def begin() -> None:
            await self.aside.execute("BEGIN")
            await self.aside.execute(ASIDE[deed], article, text)
            if deed in ("edits", "asks for a removal"):
                await self.aside.execute(
                    "INSERT INTO embedding_tasks (article_id, operation) VALUES ($1, $2)",
                    article,
                    "update" if deed == "edits" else "delete",
                )

        self.run(begin())
        self.words += 1
        self.open = deed, article, self.words

    @precondition(lambda self: self.open)
    @rule(commits=st.booleans())
    def ends_a_transaction(self, commits: bool) -> None:
        assert self.open is not None
        (deed, article, word), self.open = self.open, None
        self.run(self.aside.execute("COMMIT" if commits else "ROLLBACK"))
        if not commits:
            return
        if deed == "deletes":
            self.wanted.pop(article, None)
        elif deed in ("edits", "asks for a removal"):
            wanted = deed == "edits"
            # Two words at the same time, of which neither knew: either may be the last.
            if self.last_word.get(article, 0) > word and self.wanted.get(article) is not wanted:
                self.wanted.pop(article, None)
            else:
                self.say(article, wanted)

    def queue(self, article: int, operation: str, priority: str = "normal") -> None:
        """Queue a task for an article, unless a transaction has deleted it and not ended."""
        try:
            self.run(self.world.task(article, operation, priority, made_s=0))
        except asyncpg.LockNotAvailableError:
            self.wanted.pop(article, None)  # it may have been edited without a task
        else:
            self.say(article, operation != "delete")

    # -- what workers do

    @rule(limit=st.integers(1, 4))
    def claims(self, limit: int) -> None:
        scope = self.run(self.world.worker())
        self.scopes[scope.worker] = scope
        self.held[scope.worker] = self.run(self.world.claim(scope, limit))

    @precondition(lambda self: self.held)
    @rule(number=NUMBER)
    def completes(self, number: int) -> None:
        worker = list(self.held)[number % len(self.held)]
        tasks = self.held.pop(worker)
        try:
            outcomes = self.run(self.world.complete(self.scopes[worker], *tasks))
        except asyncpg.LockNotAvailableError:  # the vectors of an article that is being deleted
            outcomes = ["contended"] * len(tasks)
        left = [task for task, outcome in zip(tasks, outcomes, strict=True) if outcome == "contended"]
        assert not left or self.open or self.in_foreign_hands(left)
        if left:
            self.held[worker] = left

    def in_foreign_hands(self, tasks: list[ClaimedTask]) -> bool:
        """Whether another program holds a task of the same article, which may undo these if it is older."""
        return bool(
            self.run(
                self.world.psql.fetchval(
                    """SELECT count(*) FROM embedding_tasks
                       WHERE status = 'processing' AND claimed_at IS DISTINCT FROM processed_at
                         AND article_id = ANY ($1::int[])""",
                    [task.article_id for task in tasks],
                )
            )
        )

    @precondition(lambda self: self.held)
    @rule(number=NUMBER, kind=st.sampled_from([ReturnKind.RETRY, ReturnKind.RELEASE, ReturnKind.ISOLATE]))
    def gives_back(self, number: int, kind: ReturnKind) -> None:
        worker = list(self.held)[number % len(self.held)]
        with suppress(asyncpg.LockNotAvailableError):
            self.run(self.world.give_back(self.scopes[worker], *self.held[worker], kind=kind))
            del self.held[worker]

    @precondition(lambda self: self.held)
    @rule(number=NUMBER)
    def dies_and_comes_back_as_a_ghost(self, number: int) -> None:
        """It stays in `held`: what it does later must have no effect."""
        worker = list(self.held)[number % len(self.held)]
        self.run(self.world.die(self.scopes[worker]))
        self.run(self.world.rescue())

    @rule()
    def folds(self) -> None:
        self.sql("SELECT embedq_fold_counts()")

    # -- what always holds

    @invariant()
    def counts_are_exact(self) -> None:
        assert self.run(self.world.miscounted()) == []

    @invariant()
    def an_article_is_in_one_hand(self) -> None:
        shared = self.run(
            self.world.psql.fetch(
                """SELECT article_id FROM embedding_tasks
                   WHERE status = 'processing' AND article_id IS NOT NULL
                     AND claimed_at = processed_at
                   GROUP BY article_id HAVING count(*) > 1"""
            )
        )
        assert shared == []

    def teardown(self) -> None:
        """Work everything off: the last word about each article holds."""
        if self.open:
            self.ends_a_transaction(commits=False)
        self.resets_what_is_stuck()
        self.sql("UPDATE embedding_tasks SET scheduled_at = now() WHERE status = 'pending'")
        for _ in range(100):
            scope = self.run(self.world.worker())
            tasks = self.run(self.world.claim(scope))
            if not tasks:
                break
            self.run(self.world.complete(scope, *tasks))
        for worker, tasks in self.held.items():
            assert set(self.run(self.world.complete(self.scopes[worker], *tasks))) <= {"lost"}
        self.counts_are_exact()
        for row in self.run(self.world.psql.fetch("SELECT id, content, no_rag FROM articles")):
            self.check(row["id"], row["content"], row["no_rag"])

    def check(self, article: int, content: str, no_rag: bool) -> None:
        failed = self.run(
            self.world.psql.fetchval(
                "SELECT count(*) FROM embedding_tasks WHERE article_id = $1 AND status = 'failed'", article
            )
        )
        if article in self.wanted and not failed:
            wanted = content.splitlines() if self.wanted[article] and not no_rag else []
            assert self.run(self.world.texts(article)) == wanted


def play(server: Server, template: str, *, runs: int, steps: int, derandomize: bool) -> None:
    with asyncio.Runner() as runner:

        async def opened() -> tuple[AsyncExitStack, World, Connection]:
            stack = AsyncExitStack()
            database = await stack.enter_async_context(server.new_database(template))
            psql = await database.connect()  # nobody waits for a transaction that only the machine can end
            await psql.execute(
                """DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET lock_timeout = 50', current_database());
                   END $$"""
            )
            world = await stack.enter_async_context(open_world(database))
            return stack, world, await database.connect()

        stack, world, aside = runner.run(opened())
        try:
            machine = type("Machine", (QueueMachine,), {"runner": runner, "world": world, "aside": aside})
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=runs,
                    stateful_step_count=steps,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    derandomize=derandomize,
                    database=None,
                    print_blob=True,
                ),
            )
        finally:
            runner.run(stack.aclose())


def test_whatever_happens_counts_are_exact_and_the_last_word_holds(server: Server, template: str) -> None:
    play(server, template, runs=25, steps=25, derandomize=True)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_whatever_happens_at_random_and_for_longer(server: Server, template: str) -> None:
    play(server, template, runs=300, steps=60, derandomize=False)
