"""Several pending tasks of one article: done once, in whichever order they are claimed."""

from __future__ import annotations

import json
from itertools import permutations, product

import pytest

from tests.support.queue_world import World


async def test_several_updates_of_an_article_are_done_once(world: World) -> None:
    article = await world.article()
    first = await world.task(article, due_s=-90)
    others = [
        await world.task(article, "create", "low"),
        await world.task(article, "update", made_s=60),
        await world.task(article, "update", due_s=3600),
    ]
    failed = await world.task(article)
    await world.psql.execute("UPDATE embedding_tasks SET status = 'failed' WHERE id = $1", failed)
    alone = await world.task(await world.article(), due_s=-120)
    elsewhere = await world.task(await world.article(), due_s=3600)
    scope = await world.worker()
    assert await world.complete(scope, *await world.claim(scope)) == ["stored", "stored"]
    for task in others:
        row = await world.row(task)
        assert (row["status"], row["error_message"], row["attempts"]) == ("completed", None, 0)
        assert row["completed_at"] is not None
        assert json.loads(row["metadata"]) == {"coalesced_into": str(first)}
        assert await world.audited(task) == 1
    ordinary = await world.psql.fetch(
        "SELECT task_id, metadata FROM embedding_audit_logs WHERE level = 'info' AND task_id IS NOT NULL"
    )
    told = {row["task_id"]: json.loads(row["metadata"]).get("coalesced") for row in ordinary}
    assert told == {alone: None, first: 3}
    assert [await world.status(task) for task in (first, failed, elsewhere)] == [
        "completed",
        "failed",
        "pending",
    ]


async def test_very_many_are_done_in_parts_and_none_that_would_undo_it_is_left(world: World) -> None:
    article = await world.article()
    await world.psql.execute(
        """INSERT INTO embedding_tasks (article_id, operation, created_at, scheduled_at)
           SELECT $1, CASE WHEN n > 10010 THEN 'delete' ELSE 'update' END, now() - interval '1 day', now()
           FROM generate_series(1, 10020) AS n""",
        article,
    )
    await world.task(article, due_s=-90)
    scope = await world.worker()
    assert await world.complete(scope, await world.claim_one(scope)) == ["stored"]
    left = "SELECT operation, count(*) FROM embedding_tasks WHERE status = 'pending' GROUP BY 1"
    assert [tuple(row) for row in await world.psql.fetch(left)] == [("update", 10)]
    assert await world.complete(scope, await world.claim_one(scope)) == ["stored"]
    assert await world.psql.fetch(left) == []
    assert await world.miscounted() == []


async def test_what_the_task_carried_is_kept(world: World) -> None:
    article = await world.article()
    await world.task(article, due_s=-90)
    other = await world.task(article)
    await world.psql.execute("""UPDATE embedding_tasks SET metadata = '{"bulkOperationId": "b"}'""")
    scope = await world.worker()
    await world.complete(scope, await world.claim_one(scope))
    assert set(json.loads((await world.row(other))["metadata"])) == {"bulkOperationId", "coalesced_into"}


async def test_a_suspect_that_is_done_with_another_is_none_any_more(world: World) -> None:
    article = await world.article()
    await world.task(article, due_s=-90)
    suspect = await world.task(article)
    scope = await world.worker()
    await world.psql.execute(
        """UPDATE embedding_tasks SET crash_count = 1, error_message = 'the worker died', worker_id = $2
           WHERE id = $1""",
        suspect,
        scope.worker,
    )
    assert await world.complete(scope, await world.claim_one(scope)) == ["stored"]
    row = await world.row(suspect)
    assert (row["status"], row["crash_count"], row["error_message"]) == ("completed", None, None)


async def test_a_task_that_another_session_holds_is_left(world: World) -> None:
    article = await world.article()
    await world.task(article, due_s=-90)
    other = await world.task(article)
    scope = await world.worker()
    held = await world.claim_one(scope)
    session = await world.database.connect()
    async with session.transaction():
        await session.execute("SELECT FROM embedding_tasks WHERE id = $1 FOR KEY SHARE", other)
        assert await world.complete(scope, held) == ["stored"]
    assert await world.status(other) == "pending"


async def test_a_task_of_a_failed_or_changed_article_spares_nobody(world: World) -> None:
    article = await world.article()
    await world.task(article, due_s=-90)
    other = await world.task(article)
    scope = await world.worker()
    held = await world.claim_one(scope)
    await world.psql.execute("UPDATE articles SET content = 'Other.'")
    assert await world.complete(scope, held) == ["changed"]
    assert await world.status(other) == "pending"


SEQUENCES = [
    ("update", "delete", "update"),
    ("delete", "update", "delete"),
    ("create", "update", "delete"),
    ("delete", "delete", "update"),
    ("delete", "update", "update"),
    ("update", "delete", "delete"),
]


async def test_the_last_word_holds_in_whichever_order_tasks_are_claimed(world: World) -> None:
    """Every sequence of three tasks, claimed in every order, each for an article of its own."""
    cases = list(product(SEQUENCES, permutations(range(3))))
    articles = await world.articles(len(cases))
    await world.tasks(articles)
    scope = await world.worker()
    assert set(await world.complete(scope, *await world.claim(scope))) == {"stored"}
    for article, (operations, order) in zip(articles, cases, strict=True):
        for age, (operation, place) in enumerate(zip(operations, order, strict=True)):
            await world.task(article, operation, made_s=-50 + age * 10, due_s=-90 + place * 10)
    rounds = 0
    while tasks := await world.claim(scope):
        rounds += 1
        assert set(await world.complete(scope, *tasks)) <= {"stored", "removed"}
    assert rounds <= 3
    for article, case in zip(articles, cases, strict=True):
        assert await world.texts(article) == ([] if case[0][-1] == "delete" else ["One line."]), case


@pytest.mark.parametrize("operations", permutations(["delete", "create", "update"]))
async def test_a_delete_in_one_transaction_with_others_is_not_the_last_word(
    world: World, operations: tuple[str, ...]
) -> None:
    """As of a program that replaces an article: they were created at the same instant."""
    article = await world.article()
    await world.embed(article)
    await world.psql.execute("UPDATE articles SET content = 'Other.'")
    await world.psql.execute(
        """INSERT INTO embedding_tasks (article_id, operation, scheduled_at)
           SELECT $1, operation, now() - interval '1 s' / place
           FROM unnest($2::text[]) WITH ORDINALITY AS t(operation, place)""",
        article,
        operations,
    )
    scope = await world.worker()
    while tasks := await world.claim(scope):
        assert set(await world.complete(scope, *tasks)) <= {"stored", "removed"}
    assert await world.texts(article) == ["Other."]


async def test_a_delete_of_the_same_instant_that_is_out_of_reach_is_waited_for(world: World) -> None:
    article = await world.article()
    await world.psql.execute(
        """INSERT INTO embedding_tasks (article_id, operation, scheduled_at)
           VALUES ($1, 'delete', now() + interval '1 h'), ($1, 'update', now())""",
        article,
    )
    scope = await world.worker()
    held = await world.claim_one(scope)
    await world.psql.execute("UPDATE embedding_tasks SET status = 'processing' WHERE operation = 'delete'")
    assert await world.complete(scope, held) == ["contended"]


async def test_a_delete_spares_older_updates_and_no_younger_ones(world: World) -> None:
    article = await world.article()
    older = await world.task(article, made_s=-90)
    await world.task(article, "delete", made_s=-60, due_s=-600)
    younger = await world.task(article, made_s=-30)
    scope = await world.worker()
    assert await world.complete(scope, await world.claim_one(scope)) == ["removed"]
    assert [await world.status(task) for task in (older, younger)] == ["completed", "pending"]


async def test_nothing_is_left_to_do_for_an_article_that_is_not_to_be_embedded(world: World) -> None:
    article = await world.article(no_rag=True)
    for operation in ("update", "delete", "create", "delete"):
        await world.task(article, operation)
    scope = await world.worker()
    tasks = await world.claim(scope)
    assert len(tasks) == 1
    await world.complete(scope, *tasks)
    assert await world.psql.fetchval("SELECT count(*) FROM embedding_tasks WHERE status <> 'completed'") == 0


@pytest.mark.parametrize("operations", [("update", "delete"), ("delete", "update")])
@pytest.mark.parametrize("hand", ["another program's", "an open transaction"])
async def test_an_older_task_that_would_undo_it_and_is_out_of_reach_is_waited_for(
    world: World, operations: tuple[str, str], hand: str
) -> None:
    """Else it would come back, from a worker that died, and have the last word."""
    article = await world.article()
    await world.embed(article)
    older = await world.task(article, operations[0], made_s=-50, due_s=-50)
    await world.task(article, operations[1], made_s=-40, due_s=-90)
    scope = await world.worker()
    held = await world.claim_one(scope)
    session = await world.database.connect()
    if hand == "an open transaction":
        async with session.transaction():
            await session.execute("UPDATE embedding_tasks SET priority = 'low' WHERE id = $1", older)
            assert await world.complete(scope, held) == ["contended"]
    else:
        await session.execute(
            "UPDATE embedding_tasks SET status = 'processing', processed_at = now() WHERE id = $1", older
        )
        assert await world.complete(scope, held) == ["contended"]
        await session.execute("UPDATE embedding_tasks SET status = 'pending' WHERE id = $1", older)
    assert len(await world.texts(article)) == 1
    assert await world.complete(scope, held) == ["removed" if operations[1] == "delete" else "stored"]
    assert await world.status(older) == "completed"


async def test_what_is_waited_for_holds_up_no_other_article(world: World) -> None:
    article, other = await world.articles(2)
    older = await world.task(article, "delete", made_s=-50, due_s=-50)
    await world.task(article, made_s=-40, due_s=-90)
    await world.task(other, due_s=-80)
    removal = await world.task(other, "delete", made_s=-90, due_s=-40)
    scope = await world.worker()
    held = await world.claim(scope, 2)
    session = await world.database.connect()
    async with session.transaction():
        await session.execute("UPDATE embedding_tasks SET priority = 'low' WHERE id = $1", older)
        assert await world.complete(scope, *held) == ["contended", "stored"]
    assert [await world.status(task) for task in (older, removal)] == ["pending", "completed"]


async def test_an_older_task_of_the_same_kind_is_nobodys_hindrance(world: World) -> None:
    article = await world.article()
    older = await world.task(article, due_s=-50, made_s=-50)
    await world.task(article, due_s=-90, made_s=-40)
    scope = await world.worker()
    held = await world.claim_one(scope)
    await world.psql.execute(
        "UPDATE embedding_tasks SET status = 'processing', processed_at = now() WHERE id = $1", older
    )
    assert await world.complete(scope, held) == ["stored"]


async def test_what_another_program_has_in_hand_may_undo_it_too(world: World) -> None:
    article = await world.article()
    await world.task(article, made_s=-60, due_s=-90)
    removal = await world.task(article, "delete", made_s=-50, due_s=-50)
    last = await world.task(article, made_s=-40, due_s=-40)
    scope = await world.worker()
    held = await world.claim_one(scope)
    await world.psql.execute(
        "UPDATE embedding_tasks SET status = 'processing', processed_at = now() WHERE id = $1", removal
    )
    assert await world.complete(scope, held) == ["stored"]
    assert await world.status(last) == "pending"


async def test_an_older_removal_does_not_keep_younger_updates_apart(world: World) -> None:
    article = await world.article()
    removal = await world.task(article, "delete", "low", made_s=-90)
    first, second = [await world.task(article, made_s=made_s, due_s=made_s) for made_s in (-60, -30)]
    scope = await world.worker()
    held = await world.claim_one(scope)
    assert held.id == first
    assert await world.complete(scope, held) == ["stored"]
    assert {await world.status(task) for task in (removal, first, second)} == {"completed"}
