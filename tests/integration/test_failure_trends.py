"""When and where the tasks of a group of failures failed."""

from __future__ import annotations

from datetime import timedelta

from embedq_worker.insights.failures import FOLDERS_OF, failures, group_folders, group_trends
from tests.integration.test_action_plans import reading_at_most
from tests.support.databases import Connection

FAILED = """
INSERT INTO embedding_tasks (id, operation, status, error_message, completed_at)
SELECT embedq_uuid(), 'update', 'failed', $1, now() - $2::text::interval FROM generate_series(1, $3)
"""


async def test_bars_hold_what_failed_in_their_time(connection: Connection) -> None:
    for error, ago, count in (
        ("alpha", "1 min", 3),
        ("alpha", "27 min", 2),
        ("alpha", "59 min", 1),
        ("alpha", "2 h", 9),
        ("beta", "7 min", 5),
    ):
        await connection.execute(FAILED, error, ago, count)
    groups = [group.fingerprint for group in (await failures(connection)).groups]
    trends = await group_trends(connection, [*groups, "ffffffff"], bars=6, counted=4)
    assert trends.bar == timedelta(minutes=10)
    assert trends.bars == {
        groups[0]: (1, 0, 0, 2, 0, 3),
        groups[1]: (0, 0, 0, 0, 0, 4),
        "ffffffff": (0, 0, 0, 0, 0, 0),
    }
    assert (await group_trends(connection, [])).bars == {}


async def test_bars_are_found_by_index(connection: Connection) -> None:
    await connection.execute("ANALYZE embedding_tasks")  # of nothing
    await connection.execute(FAILED, "alpha", "3 min", 20_000)
    await connection.execute(FAILED, "beta", "3 min", 10)
    names = [group.fingerprint for group in (await failures(connection)).groups]
    for _ in range(2):
        async with reading_at_most(connection, 600, "trends", frozen=True):
            trends = await group_trends(connection, names, counted=500)
        assert [sum(trends.bars[name]) for name in names] == [500, 10]
        await connection.execute("ANALYZE embedding_tasks")


async def test_groups_are_found_by_index_when_hardly_any_task_failed(connection: Connection) -> None:
    """Of few among very many the statistics say nothing, and every index on failed tasks looks as good."""
    await connection.execute(
        """INSERT INTO embedding_tasks (id, operation, status, completed_at)
           SELECT embedq_uuid(), 'update', 'completed', now() FROM generate_series(1, 20000)"""
    )
    for statistics in ("of_completed", "of_all", "of_many"):
        await connection.execute("ANALYZE embedding_tasks")
        if statistics == "of_completed":
            for group in "abcdefghijklmnopqrstuvwxyz":
                await connection.execute(FAILED, group, "3 min", 40)
        if statistics == "of_many":  # as if there were 500 times as many
            await connection.execute(
                """UPDATE pg_class SET reltuples = 10000000, relpages = 400000
                   WHERE oid = 'embedding_tasks'::regclass"""
            )
        async with reading_at_most(connection, 5_000, "groups", frozen=True):
            found = await failures(connection, limit=30)
        assert [group.count for group in found.groups] == [40] * 26


async def test_the_three_folders_with_most_tasks_of_a_group_are_counted(connection: Connection) -> None:
    await connection.execute(
        """INSERT INTO articles (title, slug, content, folder)
           SELECT 't', f || n, 'c', f
           FROM unnest(ARRAY['a', 'a/b', 'c', '']) AS f, generate_series(1, 9) AS n"""
    )
    failed = """INSERT INTO embedding_tasks (id, article_id, operation, status, error_message, completed_at)
                SELECT embedq_uuid(), (SELECT id FROM articles WHERE slug = $1 || n % 9 + 1), 'update',
                       'failed', $2, now() FROM generate_series(1, $3) AS n"""
    for folder, count in (("a", 3), ("a/b", 7), ("c", 1), ("", 5)):
        await connection.execute(failed, folder, "alpha", count)
    await connection.execute(failed, "c", "beta", 2)
    await connection.execute(FAILED, "gamma", "1 min", 1)  # of no article
    groups = [group.fingerprint for group in (await failures(connection)).groups]
    found = await group_folders(connection, groups)
    assert [found.get(group, ()) for group in groups] == [(("a/b", 7), ("", 5), ("a", 3)), (("c", 2),), ()]
    assert [group.folders for group in (await failures(connection, folders=True)).groups] == [
        found.get(group, ()) for group in groups
    ]


async def test_folders_cost_no_more_for_a_large_group(connection: Connection) -> None:
    await connection.execute("ANALYZE embedding_tasks")  # of nothing
    await connection.execute(
        "INSERT INTO articles (title, slug, content, folder) VALUES ('t', 's', 'c', 'f')"
    )
    await connection.execute(FAILED, "alpha", "3 min", 20_000)
    await connection.execute("UPDATE embedding_tasks SET article_id = (SELECT id FROM articles)")
    (group,) = (await failures(connection)).groups
    for _ in range(2):
        async with reading_at_most(connection, 3 * FOLDERS_OF, "folders", frozen=True):
            assert await group_folders(connection, [group.fingerprint]) == {
                group.fingerprint: (("f", FOLDERS_OF),)
            }
        await connection.execute("ANALYZE embedding_tasks")
