"""Figure 3: what each step costs beside 10,000 and beside 10,000,000 tasks and audit rows, in turns.

The last twentieth of the tasks is pending; a hundred failed for one of forty reasons, and twenty are stuck,
in both; the others are completed. Ids are those of `embedq_uuid`, which follow the time.
"""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, cast
from uuid import uuid4

import asyncpg

from bench.contenders.embedq import settings_of
from bench.result import Flat, Step
from bench.scratch import empty_database
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection, Pool, open_pool
from embedq_worker.insights.audit import AuditFilter, audit_page
from embedq_worker.insights.failures import failures
from embedq_worker.insights.overview import overview
from embedq_worker.insights.stuck import stuck
from embedq_worker.insights.tasks import recent
from embedq_worker.process.host import HostIdentity
from embedq_worker.queue import claims, fleet
from embedq_worker.queue.claims import ClaimedTask, Completion, CompletionKind, Scope
from embedq_worker.schema import migrations
from embedq_worker.schema.storage import VectorStorage, inspect_storage

SMALL, BIG = 10_000, 10_000_000
BATCH = 50
ARTICLES = 10_000
"""At least; enough that each pending task has one of its own."""

TABLES = ["embedding_tasks", "embedding_audit_logs"]

_ARTICLES = """INSERT INTO articles (title, slug, content)
               SELECT i::text, 'slug-' || i, 'One line.' FROM generate_series(1, $1::int) AS i"""

_TASKS = """
INSERT INTO embedding_tasks (id, article_id, slug, operation, priority, status, attempts, created_at,
                             scheduled_at, processed_at, completed_at, error_message)
SELECT embedq_uuid(), 1 + i % $4::int, 'slug-' || i % $4::int,
       CASE s.status WHEN 'pending' THEN 'delete' ELSE 'update' END,
       (ARRAY['high', 'normal', 'low'])[1 + i % 3], s.status, (s.status <> 'pending')::int, s.at, s.at,
       CASE WHEN s.status <> 'pending' THEN s.at END,
       CASE WHEN s.status IN ('completed', 'failed') THEN s.at END,
       CASE WHEN s.status = 'failed' THEN 'reason ' || chr(65 + (i / 100 % 40)::int) || ' at ' || i END
FROM generate_series($1::int, $2::int) AS i,
LATERAL (SELECT CASE WHEN i > $3 - $3 / 20 THEN 'pending'
                     WHEN i <= 10000 AND i % 100 = 1 THEN 'failed'
                     WHEN i <= 400 AND i % 20 = 2 THEN 'processing'
                     ELSE 'completed' END AS status,
         now() - interval '1 day' - ($3 - i) * interval '1 millisecond' AS at) AS s"""

FAILED = 100_000
_FAILED = """
INSERT INTO embedding_tasks (id, slug, operation, status, completed_at, error_message)
SELECT gen_random_uuid(), 'slug', 'update', 'failed', now() - i * interval '1 second',
       'reason ' || chr(65 + i % 40) || ' at ' || i FROM generate_series(1, $1::int) AS i"""

_AUDIT = """
INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, task_id, article_id, metadata,
                                  duration)
SELECT embedq_uuid(), now() - ($3 - i) * interval '1 millisecond', 'info', 'task_lifecycle',
       'Task completed', gen_random_uuid(), 1 + i % $4::int,
       '{"worker": "a", "outcome": "stored", "chunks": 3}', 12.5
FROM generate_series($1::int, $2::int) AS i"""

_INDEXES = """SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
              FROM pg_index WHERE indrelid = $1::text::regclass AND NOT indisprimary"""

_READ = """SELECT coalesce(sum(seq_scan), 0)::int AS scans, coalesce(sum(idx_tup_fetch), 0)::int AS rows
           FROM pg_stat_xact_user_tables WHERE relname = ANY ($1::text[])"""


@dataclass
class _Side:
    """One of the two databases."""

    settings: Settings
    pool: Pool
    storage: VectorStorage
    scope: Scope = field(default_factory=lambda: Scope(uuid4(), "bench", "bench/none"))
    claimed: list[ClaimedTask] = field(default_factory=list)


@dataclass(frozen=True)
class _Read:
    """What a step read."""

    rows: int
    scans: int
    sorted_rows: int | None


async def measure(rounds: int, big: int = BIG) -> Flat:
    """Fill both databases, then measure each step in turns."""
    began = perf_counter()
    async with _filled(SMALL) as small, _filled(big) as large:
        result = Flat(
            small_rows=SMALL, big_rows=big, load_s=perf_counter() - began, counts_exact=False, steps={}
        )
        print(f"{big:,} rows made in {result.load_s:.0f} s", flush=True)
        async with _side(small) as one, _side(large) as other:
            await _compare(one, other, rounds, result)
    return result


async def _compare(small: _Side, large: _Side, rounds: int, result: Flat) -> None:
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in STEPS}
    for number in range(-3, rounds):
        for name, step in STEPS.items():
            pair = [(small, times[name][0]), (large, times[name][1])]
            random.shuffle(pair)
            for side, found in pair:
                taken = await _timed(side, step)
                if number >= 0:
                    found.append(taken)
    for name, step in STEPS.items():
        result.steps[name] = await _judged(step, small, large, *times[name])
    result.steps[f"failure groups, {FAILED:,} failed"] = await _many_failed(small, large, rounds)
    result.counts_exact = not await large.pool.fetch("SELECT * FROM embedq_repair_counts()", timeout=600)


async def _judged(step: _Do, small: _Side, large: _Side, few_ms: list[float], many_ms: list[float]) -> Step:
    few, many = await _looked(small, step), await _looked(large, step)
    return Step(
        small=few_ms,
        big=many_ms,
        rows_small=few.rows,
        rows_big=many.rows,
        seq_scans=many.scans,
        sorted_rows=many.sorted_rows,
    )


async def _many_failed(small: _Side, large: _Side, rounds: int) -> Step:
    """Failure groups beside many failed tasks, whose counts are folded as a worker does every few seconds."""
    await large.pool.execute(_FAILED, FAILED, timeout=600)
    await large.pool.execute("SELECT embedq_fold_counts()")
    await large.pool.execute("VACUUM ANALYZE embedding_tasks", timeout=3_600)
    step = STEPS["failure groups"]
    pairs = [(await _timed(small, step), await _timed(large, step)) for _ in range(min(rounds, 20) + 1)][1:]
    return await _judged(step, small, large, [pair[0] for pair in pairs], [pair[1] for pair in pairs])


async def _timed(side: _Side, step: _Do) -> float:
    """Milliseconds."""
    async with side.pool.acquire() as connection:
        began = perf_counter()
        await step(side, cast("Pool", connection))
        return (perf_counter() - began) * 1000


async def _looked(side: _Side, step: _Do) -> _Read:
    """What a step reads, and what its statements sort; nothing of it stays."""
    statements: list[tuple[str, tuple[Any, ...]]] = []
    claimed = list(side.claimed)
    async with side.pool.acquire() as connection:
        await step(side, cast("Pool", connection))  # so that it is prepared
        # Reads have a snapshot of their own, and inside another transaction it has to be of their kind.
        transaction = connection.transaction(isolation=None if step in _WRITES else "repeatable_read")
        await transaction.start()
        before = await connection.fetchrow(_READ, TABLES)
        await step(side, cast("Pool", connection))
        after = await connection.fetchrow(_READ, TABLES)
        await transaction.rollback()
        assert before is not None
        assert after is not None
        with connection.query_logger(lambda query: statements.append((query.query, tuple(query.args)))):
            await step(side, cast("Pool", connection))
        sorted_rows = None if step in _WRITES else await _sorted(connection, statements)
    if step is not _claim:
        side.claimed = claimed
    return _Read(after["rows"] - before["rows"], after["scans"] - before["scans"], sorted_rows)


async def _sorted(connection: Connection, statements: list[tuple[str, tuple[Any, ...]]]) -> int:
    """Most rows that a sort in the plans of statements takes."""
    most = 0
    async with connection.transaction():
        for query, arguments in statements:
            word = query.split(None, 1)[0].upper()
            if word == "SET":
                await connection.execute(query)
            elif word in ("SELECT", "WITH"):
                plan = json.loads(
                    await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *arguments)
                )[0]["Plan"]
                most = max(most, _sorts(plan))
    return most


def _sorts(plan: dict[str, Any]) -> int:
    own = int(plan["Actual Rows"] * plan["Actual Loops"]) if "Sort" in plan["Node Type"] else 0
    return max([own, *(_sorts(child) for child in plan.get("Plans", []))])


# -- filling


@asynccontextmanager
async def _filled(rows: int) -> AsyncIterator[str]:
    async with empty_database() as url:
        await migrations.up(settings_of(url))
        connection = await asyncpg.connect(url)
        await _fill(connection, rows)
        await connection.close()
        yield url


@asynccontextmanager
async def _side(url: str) -> AsyncIterator[_Side]:
    settings = settings_of(url)
    async with open_pool(settings, "bench", size=1) as pool:
        async with pool.acquire() as connection:
            storage = await inspect_storage(connection)
        side = _Side(settings, pool, storage)
        await fleet.enter(pool, side.scope, HostIdentity("bench", 1, ""), {})
        yield side


async def _fill(connection: asyncpg.Connection[asyncpg.Record], rows: int) -> None:
    articles = max(ARTICLES, rows // 20)
    await connection.execute(_ARTICLES, articles, timeout=600)
    await connection.execute("SET session_replication_role = replica; SET maintenance_work_mem = '1GB'")
    for table, statement in zip(TABLES, (_TASKS, _AUDIT), strict=True):
        indexes = await connection.fetch(_INDEXES, table)
        for index in indexes:
            await connection.execute(f"DROP INDEX {index['name']}")
        for start in range(1, rows + 1, 1_000_000):
            await connection.execute(
                statement, start, min(start + 999_999, rows), rows, articles, timeout=3_600
            )
        for index in indexes:
            await connection.execute(index["definition"], timeout=3_600)
    await connection.execute("RESET session_replication_role")
    await connection.execute("SELECT count(*) FROM embedq_repair_counts()", timeout=3_600)
    await connection.execute("SELECT embedq_fold_counts()")
    await connection.execute("VACUUM ANALYZE", timeout=3_600)
    await connection.execute("CHECKPOINT", timeout=3_600)


# -- the steps

_Do = Callable[[_Side, Pool], Awaitable[object]]


async def _claim(side: _Side, pool: Pool) -> None:
    side.claimed = await claims.claim(pool, side.scope, BATCH)
    assert len(side.claimed) == BATCH


async def _complete(side: _Side, pool: Pool) -> None:
    done = [Completion(task, CompletionKind.DELETE) for task in side.claimed]
    await claims.complete(pool, side.scope, side.storage, done)


async def _enqueue(side: _Side, pool: Pool) -> None:
    articles = random.sample(range(1, ARTICLES), BATCH)
    await pool.fetch(
        "SELECT count(*) FROM embedq_enqueue($1, $2, $3, 'low', 3)",
        articles,
        [f"slug-{article}" for article in articles],
        ["delete"] * BATCH,
    )


async def _fold(side: _Side, pool: Pool) -> None:
    await pool.execute("SELECT embedq_fold_counts()")


def _reading(look: Callable[[Connection, Settings], Awaitable[object]]) -> _Do:
    async def read(side: _Side, pool: Pool) -> None:
        await look(cast("Connection", pool), side.settings)

    return read


async def _counts(connection: Connection, _: Settings) -> None:
    await connection.fetch("SELECT status, priority, n FROM embedq_live_counts")


_WRITES = (_claim, _complete, _enqueue, _fold)

STEPS: dict[str, _Do] = {
    f"claim {BATCH} tasks": _claim,
    f"complete {BATCH} tasks": _complete,
    f"queue {BATCH} tasks": _enqueue,
    "fold the counts": _fold,
    "exact counts": _reading(_counts),
    "overview": _reading(overview),
    "stuck list": _reading(stuck),
    "failure groups": _reading(lambda connection, _: failures(connection)),
    "newest tasks": _reading(lambda connection, _: recent(connection)),
    "audit tail": _reading(lambda connection, _: audit_page(connection, AuditFilter())),
}
