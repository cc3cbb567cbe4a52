"""The figures that `health` evaluates besides the overview: index lookups, or a bounded number of rows."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.insights.stuck import stuck
from embedq_worker.queue.selection import PLAN
from embedq_worker.schema.task_values import IS_CANCELLED

COUNTED = 5_000
"""Tasks of a window counted one by one, the newest of each kind, which takes a few milliseconds. Beyond that,
the workers' own samples are added up."""

COMPLETED_COUNTED = 50_000
"""Completed tasks counted where more tasks failed than the workers' samples tell: so many that 5,000 of
another program are no high share among them."""

DEAD_WALKED = 50_000
"""Dead rows up to which the pending tasks are counted: an old snapshot keeps their entries in the index."""

UNQUEUED_KNOWN = 1_000
"""Saved articles without a task that are looked up, of those the trigger on articles could not queue."""

UNQUEUED_JUDGED = 100
"""Articles among them whose embeddings are compared, as a backfill does, which takes 0.3 ms for each."""

SAMPLES = 5_000
"""Workers' samples read for a window, the newest ones; each worker writes one a minute."""


class Ended(NamedTuple):
    """Tasks that ended recently.

    Attributes:
        completed: Tasks completed.
        failed: Tasks failed, without those that an operator cancelled.
        seconds: Time they span: the window, or less if more tasks ended in it than were counted.
    """

    completed: int
    failed: int
    seconds: float

    @property
    def failure_rate(self) -> float:
        """Share of failures among them, 0 to 1."""
        ended = self.completed + self.failed
        return self.failed / ended if ended else 0.0


class Vitals(NamedTuple):
    """The figures.

    Attributes:
        newest: Tasks that ended last, at most an hour ago.
        hour: Tasks that ended in the last hour.
        day: Tasks that ended in the last day.
        stuck: Number of stuck tasks.
        last_failed_at: When a task last failed.
        oldest_claim_at: Time of the oldest claim.
        claimed_due_at: Earliest due time of the claimed tasks.
        counted: The triggers that maintain the counts exist and are enabled.
        unqueued: Articles that the trigger on them could not queue, and that a backfill would, at most
            `UNQUEUED_JUDGED`.
        drifted: A maintained count is negative, or differs from the tasks, where this is cheap to see.
        live_rows: Live rows of the queue table, as estimated by the server.
        dead_rows: Dead tuples of the queue table, likewise.
        commit_waits_s: Seconds for which a commit has been waiting for a synchronous replica, on the whole
            server; of sessions that the role may see.
        ahead_s: Seconds until the latest time, by the database's clock, at which a waiting task was created;
            0 if that is not in the future. Of each priority, the 1,000 created last are read.
        read_only_by: Source of the setting, as in pg_settings, that makes sessions of this primary read-only;
            None if they are not. If the client asked for that itself, PostgreSQL no longer tells what the
            server's configuration says; "database" if all sessions of the database are read-only anyway.
    """

    newest: Ended
    hour: Ended
    day: Ended
    stuck: int
    last_failed_at: datetime | None
    oldest_claim_at: datetime | None
    claimed_due_at: datetime | None
    counted: bool
    unqueued: int
    drifted: bool
    live_rows: int
    dead_rows: int
    commit_waits_s: float
    ahead_s: float
    read_only_by: str | None

    @property
    def dead_share(self) -> float:
        """Share of dead tuples, 0 to 1."""
        rows = self.live_rows + self.dead_rows
        return self.dead_rows / rows if rows else 0.0


async def vitals(connection: Connection, settings: Settings) -> Vitals:
    """Read the figures.

    Args:
        connection: To the migrated database.
        settings: Of these, what counts as stuck.
    """
    stuck_tasks = await stuck(connection, settings, limit=1)
    async with connection.transaction(readonly=True):
        await connection.execute(PLAN)
        facts = await connection.fetchrow(_FACTS, COUNTED, DEAD_WALKED)
        unqueued = await connection.fetchval(_UNQUEUED, UNQUEUED_KNOWN, UNQUEUED_JUDGED)
        newest, hour = await _ended(connection, 3_600.0)
        _, day = await _ended(connection, 86_400.0)
    assert facts is not None
    return Vitals(newest=newest, hour=hour, day=day, stuck=stuck_tasks.total, unqueued=unqueued, **facts)


async def _ended(connection: Connection, window_s: float) -> tuple[Ended, Ended]:
    """The newest ended tasks of a window, counted, and all of them, as far as known."""
    row = await connection.fetchrow(_NEWEST, window_s, COUNTED)
    assert row is not None
    newest = Ended(**row)
    if newest.seconds >= window_s:
        return newest, newest
    sampled = await connection.fetchrow(_SAMPLED, window_s, SAMPLES)
    assert sampled is not None
    whole = Ended(**sampled)
    rows = await connection.fetchrow(_FAILED, whole.seconds, COUNTED)
    assert rows is not None
    if rows["failed"] > whole.failed:  # some of another program, or not yet sampled
        if rows["cut_off"]:  # more than are counted failed, beside all that the samples tell were completed
            return newest, newest
        completed = await connection.fetchval(_COMPLETED, whole.seconds, COMPLETED_COUNTED)
        whole = whole._replace(completed=max(whole.completed, completed), failed=rows["failed"])
    # Another program's worker writes no samples.
    known = whole.completed + whole.failed >= newest.completed + newest.failed
    return newest, whole if known else newest


# After a crash, the server's row statistics start from zero; until the table has been vacuumed or analysed,
# the estimate in pg_class is better.
_FACTS = """
SELECT (SELECT completed_at FROM embedding_tasks
        WHERE status = 'failed' AND completed_at <= now()
        ORDER BY completed_at DESC LIMIT 1) AS last_failed_at,
       busy.oldest_claim_at, busy.claimed_due_at,
       (SELECT count(*) = 4 FROM pg_trigger
        WHERE tgrelid = 'embedding_tasks'::regclass AND tgname LIKE E'embedq\\\\_count\\\\_%'
          AND tgenabled IN ('O', 'A')) AS counted,
       (SELECT coalesce(min(n), 0) < 0
               OR coalesce(stat.n_dead_tup, 0) < $2
                  AND least(coalesce(sum(n) FILTER (WHERE status = 'pending'), 0), $1)
                      <> (SELECT count(*) FROM (SELECT FROM embedding_tasks WHERE status = 'pending'
                                                ORDER BY embedq_rank(priority), scheduled_at LIMIT $1) AS p)
               OR least(coalesce(sum(n) FILTER (WHERE status = 'processing'), 0), $1)
                  <> (SELECT count(*) FROM (SELECT FROM embedding_tasks WHERE status = 'processing'
                                            LIMIT $1) AS c)
        FROM embedq_live_counts) AS drifted,
       CASE WHEN stat.known THEN stat.n_live_tup
            ELSE greatest(stat.n_live_tup, c.reltuples::bigint, 0) END AS live_rows,
       coalesce(stat.n_dead_tup, 0) AS dead_rows,
       (SELECT greatest(extract(epoch FROM clock_timestamp() - min(state_change)), 0)::float8
        FROM pg_stat_activity WHERE wait_event = 'SyncRep') AS commit_waits_s,
       (SELECT coalesce(extract(epoch FROM max(a.created_at) - now()), 0)::float8
        FROM (VALUES (1), (2), (3)) AS r(rank), LATERAL (
            SELECT created_at, scheduled_at FROM embedding_tasks
            WHERE status = 'pending'
              AND (CASE priority WHEN 'high' THEN 1 WHEN 'normal' THEN 2 WHEN 'low' THEN 3 END) = r.rank
              AND created_at > now() AND created_at < 'infinity'
            ORDER BY created_at DESC LIMIT 1000) AS a
        WHERE a.scheduled_at > now()) AS ahead_s,
       CASE WHEN current_setting('default_transaction_read_only') = 'on' AND NOT pg_is_in_recovery() THEN (
           -- The database's overrides that of all roles. A scalar subquery, so that no other option is cast.
           SELECT CASE WHEN source = 'client' AND (
                      SELECT o.option_value::bool
                      FROM pg_db_role_setting AS d, pg_options_to_table(d.setconfig) AS o
                      WHERE d.setrole = 0 AND o.option_name = name
                        AND d.setdatabase IN (0, (SELECT oid FROM pg_database
                                                  WHERE datname = current_database()))
                      ORDER BY d.setdatabase DESC LIMIT 1)
                  THEN 'database' ELSE source END
           FROM pg_settings WHERE name = 'default_transaction_read_only') END AS read_only_by
FROM (SELECT min(coalesce(processed_at, created_at)) AS oldest_claim_at, min(scheduled_at) AS claimed_due_at
      FROM embedding_tasks WHERE status = 'processing') AS busy
JOIN pg_class AS c ON c.oid = 'embedding_tasks'::regclass
LEFT JOIN (SELECT relid, n_live_tup, n_dead_tup,
                  coalesce(last_vacuum, last_autovacuum, last_analyze, last_autoanalyze) IS NOT NULL AS known
           FROM pg_stat_user_tables) AS stat ON stat.relid = c.oid
"""

# Most of these articles were queued since, by a later save or a backfill. Without OFFSET, the planner might
# read all tasks. A row of another program may hold anything.
_UNQUEUED = """
SELECT count(*)
FROM (SELECT DISTINCT s.article
      FROM (SELECT e.id::int AS article, r.timestamp
            FROM embedding_audit_logs r
            CROSS JOIN jsonb_array_elements_text(
                CASE jsonb_typeof(r.metadata -> 'articles') WHEN 'array' THEN r.metadata -> 'articles'
                ELSE '[]' END) AS e(id)
            WHERE r.message =
                  'Articles were saved, but their tasks could not be queued: a backfill will find them'
              AND e.id ~ '^[0-9]{1,9}$'
            ORDER BY r.timestamp DESC LIMIT $1) AS s
      WHERE NOT EXISTS (SELECT FROM embedding_tasks t
                        WHERE t.article_id = s.article
                          AND (t.status IN ('pending', 'processing') OR t.created_at >= s.timestamp) OFFSET 0)
      LIMIT $2) AS u
CROSS JOIN LATERAL embedq_backfill_page(u.article - 1, 1, NULL, NULL) AS p
WHERE p.article_id = u.article AND p.category IN ('missing', 'stale', 'no_rag')
"""

# If more tasks ended than are counted, the window shrinks to the time that the newest span: a rate would be
# meaningless if one kind were cut off and the other not. Many may end at the same instant, hence LIMIT.
_NEWEST = f"""
WITH bounds AS (
    SELECT greatest(
        now() - make_interval(secs => $1),
        (SELECT completed_at FROM embedding_tasks
         WHERE status = 'completed' AND completed_at > now() - make_interval(secs => $1)
         ORDER BY completed_at DESC OFFSET $2 LIMIT 1),
        (SELECT completed_at FROM embedding_tasks
         WHERE status = 'failed' AND completed_at > now() - make_interval(secs => $1)
         ORDER BY completed_at DESC OFFSET $2 LIMIT 1)) AS since)
SELECT extract(epoch FROM now() - since)::float8 AS seconds,
       (SELECT count(*) FROM (SELECT FROM embedding_tasks
                              WHERE status = 'completed' AND completed_at >= since
                              LIMIT 5 * $2) AS c) AS completed,
       (SELECT count(*) FROM (SELECT error_message FROM embedding_tasks
                              WHERE status = 'failed' AND completed_at >= since
                              ORDER BY completed_at DESC LIMIT 5 * $2) AS f
        WHERE NOT ({IS_CANCELLED})) AS failed
FROM bounds
"""

# Rows of another program under the same name have no worker in their metadata, and may hold anything.
_SAMPLED = """
SELECT coalesce(sum(s.n * (1 - s.value)), 0)::bigint AS completed,
       coalesce(sum(s.n * s.value), 0)::bigint AS failed,
       CASE count(*) WHEN $2 THEN extract(epoch FROM now() - min(s.timestamp)) ELSE $1 END::float8 AS seconds
FROM (SELECT m.timestamp, m.value::float8 AS value,
             CASE WHEN m.metadata ? 'worker' AND jsonb_typeof(m.metadata -> 'n') = 'number'
                       AND (m.metadata ->> 'n')::numeric BETWEEN 0 AND 1e9
                  THEN (m.metadata ->> 'n')::float8 ELSE 0 END AS n
      FROM performance_metrics m
      WHERE m.metric_type = 'error_rate' AND m.timestamp > now() - make_interval(secs => $1)
        AND m.value BETWEEN 0 AND 1
      ORDER BY m.timestamp DESC LIMIT $2) AS s
"""

_FAILED = f"""
SELECT count(*) FILTER (WHERE NOT f.cancelled) AS failed, count(*) = $2 AS cut_off
FROM (SELECT {IS_CANCELLED} AS cancelled FROM embedding_tasks
      WHERE status = 'failed' AND completed_at > now() - make_interval(secs => $1)
      ORDER BY completed_at DESC LIMIT $2) AS f
"""

_COMPLETED = """
SELECT count(*) FROM (SELECT FROM embedding_tasks
                      WHERE status = 'completed' AND completed_at > now() - make_interval(secs => $1)
                      LIMIT $2) AS c
"""
