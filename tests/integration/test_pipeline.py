"""`Pipeline` through its public door: a real database, a real HTTP provider that misbehaves on demand."""

from __future__ import annotations

import asyncio
import threading
from math import ceil, log2
from time import sleep
from typing import Any

import pytest

from embedq_worker.insights.models import models
from embedq_worker.queue import claims
from embedq_worker.service.planning import BrokenOff, PlannedTask, plan_tasks
from tests.support.content import (
    add_articles,
    charged,
    queue_tasks,
    queued_articles,
    statuses,
    wrong_articles,
)
from tests.support.databases import Connection, Database
from tests.support.piping import bench
from tests.support.provider_stub import Fault, ProviderStub
from tests.support.waiting import until

# -- what works


async def test_many_tasks_travel_in_few_requests(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 60)
    async with bench(database, stub, request_inputs=32) as it:
        assert await it.work() == {"stored": 60}
    assert sorted(stub.seen.sizes) == [28, 32]
    assert await statuses(connection) == {"completed": 60}
    assert await wrong_articles(connection) == []
    assert await charged(connection) == 60


async def test_tasks_that_were_done_along_with_another_are_counted_as_done(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    [article] = await add_articles(connection, ["saved in a loop"])
    await queue_tasks(connection, [article] * 20)
    async with bench(database, stub) as it:
        report = await it.pipeline.run(await it.pipeline.claim(10))
        assert (report.succeeded, report.outcomes["stored"], report.failed) == (20, 1, 0)
        assert not it.pipeline.in_hand
    assert await statuses(connection) == {"completed": 20}


async def test_a_task_that_is_reset_and_claimed_again_is_held_although_the_first_claim_is_lost(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    """A drain would give it back while it is embedded, claim it once more, and so on without end."""
    await queued_articles(connection, 1)
    async with bench(database, stub) as it:
        first = await it.pipeline.claim(1)
        await connection.execute("UPDATE embedding_tasks SET status = 'pending', processed_at = NULL")
        second = await it.pipeline.claim(1)
        assert (await it.pipeline.run(first)).outcomes == {"lost": 1}
        assert await it.pipeline.disown() == 0
        assert (await it.pipeline.run(second)).outcomes == {"stored": 1}
        assert not it.pipeline.in_hand


async def test_several_requests_are_in_flight_and_no_more_than_allowed(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 40)
    stub.faults.hold = asyncio.Event()
    async with bench(database, stub, concurrency=3, request_inputs=4) as it:
        batches = [asyncio.create_task(it.pipeline.run(await it.pipeline.claim(20))) for _ in range(2)]
        await until(lambda: stub.seen.in_flight == 3)
        stub.faults.hold.set()
        assert [(await batch).outcomes for batch in batches] == [{"stored": 20}, {"stored": 20}]
    assert stub.seen.max_in_flight == 3


async def test_of_an_edited_article_only_the_changed_chunk_is_sent(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    sections = [f"# Part {number}\n\nText of part {number}.\n\n" for number in range(5)]
    (article,) = await add_articles(connection, ["".join(sections)])
    async with bench(database, stub) as it:
        await queue_tasks(connection, [article])
        await it.work()
        assert stub.seen.inputs == 5

        await queue_tasks(connection, [article], operation="update")
        assert await it.work() == {"stored": 1}
        assert stub.seen.inputs == 5  # nothing changed, nothing sent

        sections[3] = "# Part 3\n\nOther words.\n\n"
        edited = "".join(sections)
        await connection.execute("UPDATE articles SET content = $2 WHERE id = $1", article, edited)
        await queue_tasks(connection, [article], operation="update")
        assert await it.work() == {"stored": 1}
        assert stub.seen.inputs == 6

        del sections[0]  # every chunk moves up: their places change, their texts do not
        moved = "".join(sections)
        await connection.execute("UPDATE articles SET content = $2 WHERE id = $1", article, moved)
        await queue_tasks(connection, [article], operation="update")
        assert await it.work() == {"stored": 1}
        assert stub.seen.inputs == 6
    assert await wrong_articles(connection) == []


async def test_an_article_of_another_model_is_embedded_anew(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    articles = await queued_articles(connection, 2)
    async with bench(database, stub) as it:
        await it.work()
    await queue_tasks(connection, articles)
    async with bench(database, stub, model_name="other") as it:
        await it.work()
    assert stub.seen.inputs == 4
    assert await connection.fetchval("SELECT array_agg(DISTINCT model) FROM embeddings") == ["openai/other"]
    assert (await models(connection)).articles == (("openai/other", 2),)


ODD_TEXTS = {
    "empty": "",
    "blank": " \r\n\t\r\n",
    "headings only": "# One\n\n## Two\n\n### Three\n",
    "control characters": "a\x01b\x08c\x1bd\x7fe\x85f \x0b\x0c g",
    "windows line ends": "# Title\r\n\r\nOne line.\r\nAnother.\r\n",
    "old mac line ends": "# Title\r\rOne line.\rAnother.\r",
    "chinese": "# 标题\n\n" + "机器学习是人工智能的一个分支。" * 200,
    "thai": "การเรียนรู้ของเครื่อง" * 200,
    "arabic": "# عنوان\n\nالتعلم الآلي هو فرع من الذكاء الاصطناعي.",  # noqa: RUF001
    "emoji": "👩‍👩‍👧‍👦" * 500,
    "private use and specials": "\ue000\ufeff\ufffe\uffff\U0010fffd",
    "one long line": "x" * 100_000,
    "code fence": "```python\n# not a heading\n" + "call()\n" * 1000 + "```\n",
    "unclosed fence": "```\n# still code",
    "front matter only": "---\ntitle: x\n---\n",
    "unit separator in a heading": "# a\x1fb\n\ntext",
    "quotes and braces": '# {"a": \'\\\'} \\ NULL\n\n{NULL,"x\\\\"}',
}


async def test_whatever_an_article_holds_it_ends_completed(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    articles = await add_articles(connection, ODD_TEXTS.values())
    await queue_tasks(connection, articles)
    async with bench(database, stub) as it:
        assert await it.work() == {"stored": len(ODD_TEXTS)}
    assert await wrong_articles(connection) == []


async def test_a_huge_article_is_embedded_whole(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    words = " ".join(f"word{number}" for number in range(60_000))
    await queue_tasks(connection, await add_articles(connection, [words]))
    async with bench(database, stub, request_inputs=32) as it:
        assert await it.work() == {"stored": 1}
    assert await connection.fetchval("SELECT count(*) FROM embeddings") > 120
    assert await wrong_articles(connection) == []


# -- an article that takes long to split


HEADINGS = "# h\ntext\n" * 200_000
"""Takes 6 s on an idle machine."""


async def test_an_article_that_takes_too_long_to_split_fails_alone(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    articles = await add_articles(connection, [HEADINGS, "short"])
    await queue_tasks(connection, articles)
    async with bench(database, stub, deadline_s=0.5) as it:
        assert await it.work() == {"requeued": 2}
        assert await charged(connection) == 0
        assert await it.work_off() == {"stored": 1, "requeued": 2, "failed": 1}
    # To split the long one here, as `wrong_articles` would, takes its time, too.
    assert await connection.fetchval("SELECT array_agg(DISTINCT article_id) FROM embeddings") == articles[1:]


async def test_a_system_without_threads_costs_nobody_an_attempt(
    database: Database, connection: Connection, stub: ProviderStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue_tasks(connection, await add_articles(connection, ["Many words. " * 1000]))
    async with bench(database, stub) as it:
        with monkeypatch.context() as no_threads:

            def start(thread: threading.Thread) -> None:
                raise RuntimeError("can't start new thread")

            no_threads.setattr(threading.Thread, "start", start)
            assert await it.work() == {"stored": 1}
    assert await wrong_articles(connection) == []


async def test_who_is_frozen_while_splitting_an_article_charges_nobody(
    database: Database, connection: Connection, stub: ProviderStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    splitting = threading.Event()

    def split(*args: Any) -> list[PlannedTask]:
        if splitting.is_set():
            return plan_tasks(*args)
        splitting.set()
        while args[-1]():
            sleep(0.01)
        raise BrokenOff

    monkeypatch.setattr("embedq_worker.service.pipeline.plan_tasks", split)
    await queue_tasks(connection, await add_articles(connection, ["word " * 1_000]))
    async with bench(database, stub, deadline_s=1.0) as it:
        work = asyncio.create_task(it.work())
        await until(splitting.is_set)
        # As after SIGSTOP and SIGCONT, the time has run out before anybody could look.
        asyncio.get_running_loop().call_soon(sleep, 2.5)
        assert await work == {"stored": 1}
    assert await charged(connection) == 1


async def test_names_of_chunks_fit_whatever_the_slug(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    text = "\n\n".join(f"# Part {number}\n\ntext {number}" for number in range(12))
    await connection.execute(
        "INSERT INTO articles (title, slug, content) VALUES ('', $1, $2), (repeat('t', 500), $3, $2)",
        "s" * 255,
        text,
        "ü" * 255,
    )
    await queue_tasks(connection, [row["id"] for row in await connection.fetch("SELECT id FROM articles")])
    async with bench(database, stub) as it:
        assert await it.work() == {"stored": 2}
    names = [row["chunk_id"] for row in await connection.fetch("SELECT chunk_id FROM embeddings")]
    assert len(names) == len(set(names)) == 24
    assert max(map(len, names)) == 255


async def test_an_article_without_title_slug_or_content_is_no_obstacle(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    for column in ("title", "slug", "content"):
        await connection.execute(f"ALTER TABLE articles ALTER COLUMN {column} DROP NOT NULL")
    article = await connection.fetchval("INSERT INTO articles DEFAULT VALUES RETURNING id")
    await queue_tasks(connection, [article])
    async with bench(database, stub) as it:
        assert await it.work() == {"stored": 1}


async def test_articles_not_to_be_embedded_lose_their_embeddings_without_a_request(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    articles = await queued_articles(connection, 3)
    async with bench(database, stub) as it:
        await it.work()
        await connection.execute("UPDATE articles SET content = 'Secret.'")
        await connection.execute("UPDATE articles SET no_rag = true WHERE id = $1", articles[0])
        await queue_tasks(connection, articles[:1], operation="update")
        await queue_tasks(connection, articles[1:2], operation="delete")
        await connection.execute("DELETE FROM articles WHERE id = $1", articles[2])
        await connection.execute("INSERT INTO embedding_tasks (operation) VALUES ('update')")
        assert await it.work() == {"skipped": 1, "removed": 1, "gone": 1}
    assert stub.seen.requests == 1
    assert await connection.fetchval("SELECT count(*) FROM embeddings") == 0


# -- texts that the provider does not like


async def test_one_poisoned_text_of_thirty_fails_alone(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    articles = await queued_articles(connection, 30)
    await connection.execute("UPDATE articles SET content = 'POISON' WHERE id = $1", articles[17])
    stub.faults.poison = "POISON"
    async with bench(database, stub) as it:
        assert await it.work() == {"stored": 29, "failed": 1}
    assert stub.seen.requests <= 2 + 3 * ceil(log2(30))  # until one is taken, it may be for base64
    failed = await connection.fetch(
        "SELECT article_id, attempts, error_message FROM embedding_tasks WHERE status = 'failed'"
    )
    assert [(row["article_id"], row["attempts"]) for row in failed] == [(articles[17], 1)]
    assert "400" in failed[0]["error_message"]
    assert await wrong_articles(connection) == [articles[17]]


async def test_a_poisoned_chunk_leaves_the_stored_embeddings_of_its_article_alone(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    (article,) = await queued_articles(connection, 1)
    async with bench(database, stub) as it:
        await it.work()
        before = await connection.fetch("SELECT * FROM embeddings")
        await connection.execute("UPDATE articles SET content = content || E'\\n# Two\\nPOISON'")
        await queue_tasks(connection, [article])
        stub.faults.poison = "POISON"
        assert await it.work() == {"failed": 1}
    assert await connection.fetch("SELECT * FROM embeddings") == before


async def test_a_vector_that_is_not_finite_fails_its_text_alone(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    articles = await queued_articles(connection, 8)
    await connection.execute("UPDATE articles SET content = 'SPOILT' WHERE id = $1", articles[3])
    stub.faults.poison_vector = "SPOILT"
    async with bench(database, stub) as it:
        assert await it.work() == {"stored": 7, "failed": 1}


async def test_a_text_too_long_for_the_model_is_embedded_in_parts_with_a_warning(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queue_tasks(connection, await add_articles(connection, ["word " * 300, "short"]))
    stub.faults.max_characters = 400
    async with bench(database, stub) as it:
        assert await it.work() == {"stored": 2}
    warnings = await connection.fetch("SELECT * FROM embedding_audit_logs WHERE level = 'warn'")
    assert len(warnings) == 1
    assert "too long" in warnings[0]["metadata"]


async def test_tasks_that_the_provider_failed_wait_a_little(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 3)
    await connection.execute("UPDATE embedding_tasks SET scheduled_at = now() - interval '1 hour'")
    stub.faults.fault, stub.faults.times = Fault.STATUS, 1
    async with bench(database, stub) as it:
        assert await it.work() == {"requeued": 3}
    waiting = "SELECT count(*) FROM embedding_tasks WHERE scheduled_at > now() - interval '1 minute'"
    assert await connection.fetchval(waiting) == 3


async def test_disowned_tasks_come_before_those_that_waited_behind_them(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 3)
    async with bench(database, stub) as it:
        (lost,) = await claims.claim(it.pool, it.scope, 1)  # the response never arrives
        await it.pipeline.claim(1)
        assert await it.pipeline.disown() == 1
        assert [task.id for task in await it.pipeline.claim(1)] == [lost.id]


@pytest.mark.parametrize("outcome", ["changed", "lost", "requeued"])
async def test_tasks_that_are_pending_again_come_before_those_that_waited_behind_them(
    database: Database, connection: Connection, stub: ProviderStub, outcome: str
) -> None:
    await queued_articles(connection, 4)
    async with bench(database, stub) as it:
        tasks = await it.pipeline.claim(2)
        if outcome == "changed":
            await connection.execute("UPDATE articles SET content = 'Other.'")
        elif outcome == "lost":
            await connection.execute("UPDATE embedding_tasks SET status = 'pending', processed_at = NULL")
        ended = it.pipeline.fail(tasks, RuntimeError()) if outcome == "requeued" else it.pipeline.run(tasks)
        assert (await ended).outcomes == {outcome: 2}
        assert [task.id for task in await it.pipeline.claim(1)] == [tasks[0].id]


@pytest.mark.parametrize("behind", [0, 1], ids=["nothing else is due", "another is due"])
async def test_a_task_due_before_those_that_were_claimed_is_found_as_soon_as_a_batch_is_not_filled(
    database: Database, connection: Connection, stub: ProviderStub, behind: int
) -> None:
    """A claim begins where the last one ended, and so may pass it."""
    await queued_articles(connection, 2 + behind)
    async with bench(database, stub) as it:
        assert len(await it.pipeline.claim(2)) == 2
        (article,) = await queued_articles(connection, 1, slug="early")
        await connection.execute(
            "UPDATE embedding_tasks SET scheduled_at = now() - interval '1 day' WHERE article_id = $1",
            article,
        )
        for _ in range(behind):
            assert [task.article_id == article for task in await it.pipeline.claim(2)] == [False]
            await queued_articles(connection, 1, slug="late")
        early, *late = await it.pipeline.claim(2)
        assert (early.article_id, len(late)) == (article, behind)
        assert await it.pipeline.release("the end") == 3 + 2 * behind


async def test_without_its_provider_a_worker_claims_nothing_wherever_it_begins(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 3)
    async with bench(database, stub) as it:
        assert len(await it.pipeline.claim(2)) == 2
        it.pipeline.unproven = True
        assert await it.pipeline.claim(2) == []
        it.pipeline.unproven = False
        assert len(await it.pipeline.claim(2)) == 1
