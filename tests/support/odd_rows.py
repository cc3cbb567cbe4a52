"""Odd rows: none should be written, but the public columns allow any program to write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from random import Random
from uuid import UUID

from tests.support.databases import Connection

Row = Mapping[str, str | None]
"""Values in PostgreSQL's text format, by column; other columns have their default."""

LOOSE = """
    DO $$
    DECLARE
        v_column record;
        v_check record;
    BEGIN
        FOR v_check IN SELECT conrelid::regclass AS place, conname FROM pg_constraint
                       WHERE contype = 'c' AND conrelid IN ('embedding_tasks'::regclass,
                             'embedding_audit_logs'::regclass) LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', v_check.place, v_check.conname);
        END LOOP;
        FOR v_column IN SELECT attrelid::regclass AS place, attname FROM pg_attribute
                        WHERE attnotnull AND (attrelid, attname) IN (
                            ('embedding_tasks'::regclass, 'operation'),
                            ('embedding_tasks'::regclass, 'priority'),
                            ('embedding_tasks'::regclass, 'status'),
                            ('embedding_tasks'::regclass, 'attempts'),
                            ('embedding_tasks'::regclass, 'max_attempts'),
                            ('embedding_tasks'::regclass, 'created_at'),
                            ('embedding_tasks'::regclass, 'scheduled_at')) LOOP
            EXECUTE format('ALTER TABLE %s ALTER %I DROP NOT NULL', v_column.place, v_column.attname);
        END LOOP;
    END
    $$
"""
"""Takes from the tables what ours have and those of another program may not have."""

TIMES = [
    None, "now", "now", "now", "-infinity", "infinity", "0044-03-15 BC", "294276-12-31 23:59:59+00",
    "10000-01-01 00:00+00", "9999-12-31 23:59:59.999999+00", "0001-01-01 00:00+00", "1969-12-31 23:59:59-12",
    "2000-01-01 00:00+00", "2038-01-19 03:14:08+00", "20261-11-28 10:00+00",
]  # fmt: skip
NUMBERS = [None, "0", "0", "1", "3", "-1", "2147483647", "-2147483648", "32767", "1000000"]
WORDS = [
    "", " ", "PENDING", "done", "urgent", "reindex", "[/foo]", "[@click=app.quit]", "\x1b]0;title\x07",
    "\u202eevil", "a\nb", "%s %(x)s", "{0}", "'; --", "null",
]  # fmt: skip
DOCUMENTS = [
    None, "null", "[]", "{}", '"word"', "3", "true", "1e400", '{"bulkOperationId": null}',
    '{"bulkOperationId": {"a": [1]}}', '{"bulkOperationId": 7}', '{"bulkOperationId": ""}', '{"": {"": []}}',
    '{"coalesced_into": 5}', '{"worker": ["x"], "attempt": "many", "outcome": {}}',
    json.dumps("[" * 50), "[" * 500 + "]" * 500, json.dumps({"text": "x" * 100_000}),
    '{"a\\u001b[31m": "\\u001b]52;c;aGk=\\u0007"}',
]  # fmt: skip
MEASURES = [
    '{"worker": "x", "n": "many", "tasks": "many", "wait_ms": "long"}',
    '{"worker": [], "n": 1e400, "tasks": 1e400, "wait_ms": -1e400}',
    '{"worker": 1, "n": -5, "tasks": -5, "wait_ms": -5}',
    '{"worker": null, "n": 1e300, "tasks": 1e300, "wait_ms": 1e300}',
]  # fmt: skip
TEXTS = [
    None, "", " ", "\n", "boom", "x" * 1_000_000, "\x1b[2J\x1b]52;c;aGk=\x07", "[red]not red[/]",
    "\u202e\u2066", "word " * 50_000, "\n" * 5_000, "\ufeff\u200b\u2028", "{'a': 1}", "%d%n%s",
    "\U0001f469\u200d\U0001f4bb" * 500,
]  # fmt: skip
NUMERICS = ["0", "-1", "NaN", "Infinity", "-Infinity", "1e300", "1e-300", "9" * 400, "0.1", "42"]


class OddRows:
    """Generates random rows.

    Args:
        random: Source of randomness.
        articles: That there are.
        tasks: Ids that audit rows may speak of.
    """

    def __init__(self, random: Random, articles: Sequence[int], tasks: Sequence[UUID] = ()) -> None:
        self._random = random
        self._articles = articles
        self._tasks = tasks

    def _one(
        self, values: Sequence[str | None], odd: Sequence[str | None] = (), rarely: float = 0.2
    ) -> str | None:
        return self._random.choice(odd if odd and self._random.random() < rarely else values)

    def task(self, *, loose: bool) -> Row:
        """A row of embedding_tasks.

        Args:
            loose: As a table without checks lets it through, too.
        """
        words = [*WORDS, None, None] if loose else ()
        times = TIMES if loose else [time for time in TIMES if time]
        numbers = NUMBERS if loose else [number for number in NUMBERS if number]
        own = self._random.random() < 0.3
        ours: dict[str, str | None] = {
            "claim_token": self._one([None, "0", "-5", "9223372036854775807", "7"]),
            "worker_id": self._one([None, "00000000-0000-0000-0000-000000000000"]),
            "claimed_at": self._one(TIMES),
            "crash_count": self._one([None, "0", "-1", "1", "32767", "-32768"]),
        }
        return {
            "id": str(UUID(int=self._random.getrandbits(128))),
            "article_id": self._one([None, *map(str, self._articles)]),
            "slug": self._one([None, "", "page", "s" * 255, *(word[:255] for word in WORDS)]),
            "operation": _cut(self._one(["create", "update", "delete"], words), 20),
            "priority": _cut(self._one(["high", "normal", "low"], words), 10),
            "status": _cut(self._one(["pending", "pending", "processing", "completed", "failed"], words), 20),
            "attempts": self._one(numbers),
            "max_attempts": self._one(numbers),
            "created_at": self._one(times),
            "scheduled_at": self._one(times),
            "processed_at": self._one(TIMES),
            "completed_at": self._one(TIMES),
            "error_message": self._one(TEXTS),
            "metadata": self._one(DOCUMENTS),
            **(ours if own else {}),
        }

    def audit(self, *, loose: bool) -> Row:
        """A row of embedding_audit_logs."""
        words = [word[:10] for word in WORDS] if loose else ()
        return {
            "timestamp": self._one([time for time in TIMES if time]),
            "level": self._one(["debug", "info", "warn", "error"], words),
            "category": self._one(
                ["task_lifecycle", "worker_status", "queue_operations", "bulk_operations"], words
            ),
            "message": self._one(TEXTS) or "",
            "task_id": self._one([None, str(UUID(int=1)), *map(str, self._tasks)]),
            "article_id": self._one([None, "-1", "2147483647", *map(str, self._articles)]),
            "operation_id": self._one([None, "", *(word[:255] for word in WORDS)]),
            "metadata": self._one(DOCUMENTS),
            "duration": self._one([None, *NUMERICS]),
            "error": self._one(TEXTS),
            "stack_trace": self._one(TEXTS),
        }

    def metric(self) -> Row:
        """A row of performance_metrics."""
        kinds = [
            "task_processing_time",
            "queue_throughput",
            "queue_depth",
            "worker_utilization",
            "error_rate",
        ]
        return {
            "timestamp": self._one([time for time in TIMES if time]),
            "metric_type": self._one([*kinds, "database_query_time"], WORDS),
            "value": self._one(NUMERICS),
            "unit": self._one([None, "ms", "", "\x1b[31m"]),
            "metadata": self._one([*DOCUMENTS, *MEASURES]),
        }


def _cut(text: str | None, length: int) -> str | None:
    return None if text is None else text[:length]


async def insert_odd(connection: Connection, table: str, row: Row) -> None:
    """Insert a row as by hand in psql.

    Args:
        connection: To the database.
        table: Of the public ones.
        row: By column.
    """
    types = await _types(connection, table)
    if connection.get_server_version().major < 14:  # NaN is the only number there that is none
        row = {
            name: "NaN" if types[name] == "numeric" and str(value).endswith("Infinity") else value
            for name, value in row.items()
        }
    values = ", ".join(f"${place}::text::{types[name]}" for place, name in enumerate(row, 1))
    await connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})", *row.values())


async def _types(connection: Connection, table: str) -> dict[str, str]:
    rows = await connection.fetch(
        """SELECT attname, format_type(atttypid, NULL) AS type FROM pg_attribute
           WHERE attrelid = $1::text::regclass AND attnum > 0""",
        table,
    )
    return {row["attname"]: row["type"] for row in rows}
