"""The queue as a state machine: whatever happens, counts are exact and the last word holds."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar
from uuid import UUID

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

from embedq_worker.queue import ClaimedTask, ReturnKind, Scope
from tests.support.databases import Server
from tests.support.queue_world import RESET, World, open_world

T = TypeVar("T")

TEXTS = st.lists(st.sampled_from(["A.", "B.", "C.", "D."]), max_size=4).map("\n".join)
NUMBER = st.integers(0, 2**20)
PRIORITY = st.sampled_from(["high", "normal", "low"])


class QueueMachine(RuleBasedStateMachine):
    """One queue, several workers of ours and others; the same database for every run.

    Attributes:
        runner: Runs what is asynchronous.
        world: What it acts on.
        wanted: By article, whether the last task about it wants embeddings; without those whose last task
            somebody took away.
        held: What workers have in hand, as far as they know.
    """

    runner: asyncio.Runner
    world: World

    def __init__(self) -> None:
        super().__init__()
        self.wanted: dict[int, bool] = {}
        self.held: dict[UUID, list[ClaimedTask]] = {}
        self.scopes: dict[UUID, Scope] = {}

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def sql(self, statement: str, *arguments: object) -> None:
        self.run(self.world.psql.execute(statement, *arguments))

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
        self.wanted[article] = True

    @precondition(lambda self: self.articles())
    @rule(number=NUMBER, text=TEXTS, priority=PRIORITY)
    def edits_an_article(self, number: int, text: str, priority: str) -> None:
        article = self.some(number)
        self.sql("UPDATE articles SET content = $2 WHERE id = $1", article, text)
        self.run(self.world.task(article, "update", priority, made_s=0))
        self.wanted[article] = True

    @precondition(lambda self: self.articles())
    @rule(number=NUMBER, no_rag=st.booleans())
    def turns_embedding_on_or_off(self, number: int, no_rag: bool) -> None:
        article = self.some(number)
        self.sql("UPDATE articles SET no_rag = $2 WHERE id = $1", article, no_rag)
        self.run(self.world.task(article, "update", made_s=0))
        self.wanted[article] = True

    @precondition(lambda self: self.articles())
    @rule(number=NUMBER, priority=PRIORITY)
    def asks_for_a_removal(self, number: int, priority: str) -> None:
        article = self.some(number)
        self.run(self.world.task(article, "delete", priority, made_s=0))
        self.wanted[article] = False

    @precondition(lambda self: self.articles())
    @rule(number=NUMBER)
    def deletes_an_article(self, number: int) -> None:
        article = self.some(number)
        self.sql("DELETE FROM articles WHERE id = $1", article)
        self.wanted.pop(article, None)

    @rule(statement=st.sampled_from(["TRUNCATE embedding_tasks", "DELETE FROM embedding_tasks"]))
    def takes_all_tasks_away(self, statement: str) -> None:
        self.sql(statement)
        self.wanted.clear()

    @rule()
    def cancels_what_is_pending(self) -> None:
        rows = self.run(
            self.world.psql.fetch(
                """UPDATE embedding_tasks SET status='failed', error_message='Cancelled by administrator'
                   WHERE status='pending' RETURNING article_id"""
            )
        )
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
            await self.world.psql.execute("UPDATE embedding_tasks SET status = 'failed', priority = 'low'")
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
        outcomes = self.run(self.world.complete(self.scopes[worker], *tasks))
        assert "contended" not in outcomes

    @precondition(lambda self: self.held)
    @rule(number=NUMBER, kind=st.sampled_from([ReturnKind.RETRY, ReturnKind.RELEASE, ReturnKind.ISOLATE]))
    def gives_back(self, number: int, kind: ReturnKind) -> None:
        worker = list(self.held)[number % len(self.held)]
        self.run(self.world.give_back(self.scopes[worker], *self.held.pop(worker), kind=kind))

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


def test_whatever_happens_counts_are_exact_and_the_last_word_holds(server: Server, template: str) -> None:
    with asyncio.Runner() as runner:

        async def opened() -> tuple[AsyncExitStack, World]:
            stack = AsyncExitStack()
            database = await stack.enter_async_context(server.new_database(template))
            return stack, await stack.enter_async_context(open_world(database))

        stack, world = runner.run(opened())
        try:
            machine = type("Machine", (QueueMachine,), {"runner": runner, "world": world})
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=25,
                    stateful_step_count=25,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    derandomize=True,
                    database=None,
                ),
            )
        finally:
            runner.run(stack.aclose())
