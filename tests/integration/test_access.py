"""Whether an operator may act in a database, as the database says it."""

from __future__ import annotations

from embedq_worker.insights.access import access
from tests.support.databases import Connection, Database

READER = """
CREATE ROLE embedq_reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO embedq_reader;
REVOKE EXECUTE ON FUNCTION embedq_command(text, text) FROM PUBLIC;
SET LOCAL ROLE embedq_reader
"""


async def test_the_owner_may_act(connection: Connection) -> None:
    found = await access(connection)
    assert not found.why_not
    assert not found.missing
    assert (found.is_replica, found.read_only) == (False, False)


async def test_a_role_without_rights_may_not(connection: Connection) -> None:
    async with connection.transaction():  # with which the role goes again
        await connection.execute(READER)
        found = await access(connection)
        assert found.user == "embedq_reader"
        assert "embedding_tasks: DELETE, INSERT, UPDATE" in found.missing
        assert "function embedq_command: EXECUTE" in found.missing
        assert not any(words.startswith("articles") for words in found.missing)
        assert found.why_not
        await connection.execute("RESET ROLE; DROP OWNED BY embedq_reader; DROP ROLE embedq_reader")


async def test_a_role_that_row_level_security_hides_everything_from_may_not(connection: Connection) -> None:
    async with connection.transaction():
        await connection.execute(
            """CREATE ROLE embedq_hidden; GRANT ALL ON ALL TABLES IN SCHEMA public TO embedq_hidden;
               ALTER TABLE embedding_tasks ENABLE ROW LEVEL SECURITY;
               ALTER TABLE articles ENABLE ROW LEVEL SECURITY;
               CREATE POLICY all_may_read ON embedding_tasks FOR SELECT USING (true);
               CREATE POLICY of_another ON embedding_tasks TO postgres USING (true);
               CREATE POLICY of_ours ON articles TO embedq_hidden USING (true);
               SET LOCAL ROLE embedq_hidden"""
        )
        found = await access(connection)
        assert [line.split(" (")[0] for line in found.missing] == [
            "embedding_tasks: a policy for DELETE, INSERT, UPDATE"
        ]
        assert found.why_not
        await connection.execute("RESET ROLE; DROP OWNED BY embedq_hidden; DROP ROLE embedq_hidden")


async def test_a_read_only_session_may_not(connection: Connection) -> None:
    await connection.execute("SET default_transaction_read_only = on")
    found = await access(connection)
    assert found.read_only
    assert found.why_not
    assert found.missing == ()


async def test_before_the_schema_is_there_nothing_is_missing(empty_database: Database) -> None:
    found = await access(await empty_database.connect())
    assert not found.why_not
    assert found.missing == ()
