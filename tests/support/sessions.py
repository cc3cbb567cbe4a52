"""Sessions that the server terminates."""

from __future__ import annotations

from typing import Literal

from tests.support.databases import Connection


async def doom(
    connection: Connection, event: Literal["INSERT", "UPDATE", "DELETE"], table: str, *, spared: int = 1
) -> None:
    """From now on, make the server terminate any session that does this to the table.

    Args:
        connection: To the database.
        event: What ends it.
        table: To which.
        spared: Statements that are still done, also those that find nothing.
    """
    await connection.execute(
        f"""
        CREATE SEQUENCE doom;
        CREATE FUNCTION doom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('doom') > {spared} THEN  -- counts what is rolled back, too
                PERFORM pg_terminate_backend(pg_backend_pid());
            END IF;
            RETURN NULL;
        END $$;
        CREATE TRIGGER doom BEFORE {event} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION doom()
        """
    )
