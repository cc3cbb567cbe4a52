"""What another program's own migrations drop of the schema: it is told, and can be put back."""

from __future__ import annotations

import re

import pytest

from embedq_worker.errors import SchemaError
from embedq_worker.insights.health import health
from embedq_worker.insights.issues import Code
from embedq_worker.schema import migrations
from embedq_worker.schema.check import REPEATABLE, expected_objects
from embedq_worker.schema.files import load_migrations
from tests.support.catalog import catalog
from tests.support.databases import Connection, Database

pytestmark = pytest.mark.matrix


async def drop_what_models_lack(connection: Connection) -> None:
    """As TypeORM and Drizzle make the database equal to the models of a program that does not know embedq."""
    for what in expected_objects(each for each in load_migrations() if each.version in REPEATABLE):
        if what.kind == "column":
            await connection.execute(f"ALTER TABLE {what.table} DROP COLUMN {what.name}")
        else:
            await connection.execute(f"DROP INDEX IF EXISTS {what.name}")


async def advice_of(connection: Connection, database: Database) -> str:
    """The advice of `health`, which `verify` gives too."""
    found = await health(connection, database.settings)
    [schema] = [issue for issue in found.issues if issue.code == Code.SCHEMA]
    assert schema.advice in {problem.advice for problem in await migrations.verify(connection)}
    return schema.advice


async def test_columns_and_indexes_of_the_operators_tables_are_put_back(
    database: Database, connection: Connection
) -> None:
    made = await catalog(connection)
    await drop_what_models_lack(connection)
    advice = {problem.advice for problem in await migrations.verify(connection)}
    assert advice == {await advice_of(connection, database)}, "one remedy for all"
    assert await migrations.up(database.settings) == [3, 6]
    assert await migrations.verify(connection) == []
    assert await catalog(connection) == made
    assert (await health(connection, database.settings)).healthy
    assert await migrations.up(database.settings) == []


async def test_a_lost_index_is_unhealthy_although_everything_works(
    database: Database, connection: Connection
) -> None:
    await connection.execute("DROP INDEX embedq_tasks_claim_idx")
    found = await health(connection, database.settings)
    assert [issue.code for issue in found.issues] == [Code.SCHEMA]
    assert found.measures


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE performance_metrics, embedding_audit_logs",
        "DROP TABLE embeddings CASCADE",
        "DROP TABLE embedding_tasks CASCADE",
        "DROP TABLE embedding_worker_status",
        "DROP TABLE embeddings, embedding_tasks, embedding_worker_status, embedq_control CASCADE",
        "DROP FUNCTION embedq_lock_status() CASCADE",
        "DROP TRIGGER embedq_count_delete ON embedding_tasks; DROP INDEX embedq_tasks_busy_idx",
    ],
)
async def test_the_advice_leads_back_to_a_complete_schema(
    database: Database, connection: Connection, damage: str
) -> None:
    await connection.execute(damage)
    advice = await advice_of(connection, database)
    if back := re.search(r"rollback --to (\d+)", advice):
        with pytest.raises(SchemaError) as refused:
            await migrations.up(database.settings)
        assert refused.value.advice == advice
        await migrations.rollback(database.settings, int(back[1]))
    assert await migrations.up(database.settings)
    assert await migrations.verify(connection) == []
    assert {state.state for state in await migrations.to_apply(connection)} == {"applied"}
    assert (await health(connection, database.settings)).healthy


async def test_a_rollback_says_that_saves_are_no_longer_queued(
    database: Database, connection: Connection
) -> None:
    lines: list[str] = []
    await migrations.rollback(database.settings, 12, lines.append)
    quiet = len(lines)
    await migrations.up(database.settings)
    await connection.execute("SELECT embedq_article_trigger_install(3)")
    lines.clear()
    await migrations.rollback(database.settings, 12, lines.append)
    assert len(lines) == quiet + 1
    assert any("triggers install" in line for line in lines)
