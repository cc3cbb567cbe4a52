"""Installing the opt-in trigger on `articles`, and removing it."""

from __future__ import annotations

import asyncio

import pytest

from embedq_worker.actions import article_trigger
from embedq_worker.errors import EmbedqError
from tests.support.blocking import until_blocked
from tests.support.content import add_articles, queued
from tests.support.databases import Connection, Database


async def test_install_and_remove(connection: Connection) -> None:
    state = await article_trigger.status(connection)
    assert (state.installed, state.enabled, state.max_attempts) == (False, False, None)
    assert await article_trigger.install(connection, max_attempts=4)
    assert not await article_trigger.install(connection, max_attempts=4)
    state = await article_trigger.status(connection)
    assert (state.installed, state.enabled, state.max_attempts) == (True, True, 4)
    assert set(state.events) == {"insert", "update", "delete"}

    assert await article_trigger.remove(connection)
    assert not await article_trigger.remove(connection)
    assert not (await article_trigger.status(connection)).installed
    await add_articles(connection, ["text"])
    assert await queued(connection) == []


async def test_installing_again_puts_right_what_is_there(connection: Connection) -> None:
    await article_trigger.install(connection, max_attempts=4)
    for damage, disabled in (
        ("ALTER TABLE articles DISABLE TRIGGER embedq_article_update", ("update",)),
        ("DROP TRIGGER embedq_article_delete ON articles", ()),
    ):
        await connection.execute(damage)
        state = await article_trigger.status(connection)
        assert (state.installed, state.enabled, state.disabled) == (True, not disabled, disabled)
        assert await article_trigger.install(connection, max_attempts=4)
        state = await article_trigger.status(connection)
        assert state.enabled
        assert len(state.events) == 3
    assert await article_trigger.install(connection, max_attempts=7)
    assert (await article_trigger.status(connection)).max_attempts == 7


async def test_another_schema_has_triggers_of_its_own(connection: Connection) -> None:
    await article_trigger.install(connection, max_attempts=4)
    triggers = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"
    before = await connection.fetchval(triggers)
    await connection.execute(
        """CREATE SCHEMA other; ALTER TABLE articles SET SCHEMA other;
           CREATE TABLE articles (LIKE other.articles INCLUDING ALL)"""
    )
    assert not await article_trigger.remove(connection)
    assert await article_trigger.install(connection, max_attempts=4)
    assert await article_trigger.remove(connection)
    assert await connection.fetchval(triggers) == before


async def test_where_a_task_needs_an_article_deletions_are_not_queued(connection: Connection) -> None:
    await connection.execute("ALTER TABLE embedding_tasks ALTER article_id SET NOT NULL")
    await article_trigger.install(connection, max_attempts=3)
    assert set((await article_trigger.status(connection)).events) == {"insert", "update"}
    assert not await article_trigger.install(connection, max_attempts=3)
    await add_articles(connection, ["text"])
    await connection.execute("DELETE FROM articles")
    assert await queued(connection) == []


async def test_installing_waits_for_writers_a_little_and_holds_nobody_up_for_long(
    database: Database, connection: Connection
) -> None:
    editor, other = await database.connect(), await database.connect()
    transaction = editor.transaction()
    await transaction.start()
    await add_articles(editor, ["text"])
    with pytest.raises(EmbedqError):
        await article_trigger.install(connection, max_attempts=3, tries=1)
    installing = asyncio.create_task(article_trigger.install(connection, max_attempts=3))
    await until_blocked(other, connection)
    await other.execute("INSERT INTO articles (title, slug, content) VALUES ('T', 's', 'text')", timeout=4)
    await transaction.commit()
    assert await installing
