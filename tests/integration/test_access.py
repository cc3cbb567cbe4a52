"""Whether an operator may act in a database, as the database says it."""

from __future__ import annotations

from embedq_worker.insights.access import access
from tests.support.databases import Connection, Database

READER = """
CREATE ROLE embedq_reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO embedq_reader;
REVOKE EXECUTE ON FUNCTION embedq_command(text, text) FROM PUBLIC;
CREATE SCHEMA elsewhere;
CREATE FUNCTION elsewhere.embedq_of_another() RETURNS int LANGUAGE sql AS 'SELECT 1';
REVOKE EXECUTE ON FUNCTION elsewhere.embedq_of_another() FROM PUBLIC;
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
        assert [words for words in found.missing if words.startswith("function")] == [
            "function embedq_command: EXECUTE"
        ]
        assert not any(words.startswith("articles") for words in found.missing)
        assert found.why_not
        await connection.execute(
            "RESET ROLE; DROP SCHEMA elsewhere CASCADE; DROP OWNED BY embedq_reader; DROP ROLE embedq_reader"
        )


async def test_a_role_that_row_level_security_hides_everything_from_may_not(connection: Connection) -> None:
    async with connection.transaction():
        await connection.execute(
            """CREATE ROLE embedq_hidden; GRANT ALL ON ALL TABLES IN SCHEMA public TO embedq_hidden;
               ALTER TABLE embedding_tasks ENABLE ROW LEVEL SECURITY;
               ALTER TABLE embedq_workers ENABLE ROW LEVEL SECURITY;
               ALTER TABLE articles ENABLE ROW LEVEL SECURITY;
               CREATE POLICY all_may_read ON embedding_tasks FOR SELECT USING (true);
               CREATE POLICY we_may_queue ON embedding_tasks FOR INSERT TO embedq_hidden WITH CHECK (true);
               CREATE POLICY we_may_delete ON embedding_tasks FOR DELETE TO embedq_hidden USING (true);
               CREATE POLICY of_another ON embedding_tasks TO postgres USING (true);
               CREATE POLICY fewer ON embedding_tasks AS RESTRICTIVE FOR UPDATE USING (true);
               CREATE POLICY we_may_read ON embedq_workers FOR SELECT TO embedq_hidden USING (true);
               CREATE POLICY we_may_change ON embedq_workers FOR UPDATE TO embedq_hidden USING (true);
               CREATE POLICY of_ours ON articles TO embedq_hidden USING (true);
               SET LOCAL ROLE embedq_hidden"""
        )
        found = await access(connection)
        assert [line.split(" (")[0] for line in found.missing] == ["embedding_tasks: a policy for UPDATE"]
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
