-- Small functions shared by queries, indexes and triggers.
--
-- All our advisory locks, here because 005 comes before them. The first key is 1701667442 (classid in pg_locks), the second
--   the id of an article   claiming one of its tasks (007)
--   -1, -3                 being the one transaction that notifies: of a change, of work (009)
--   -2, -6                 folding the counts, repairing them (009)
--   -4                     taking tasks back (011)
--   -5                     deleting what is past the retention (queue/retention.py)
-- A migration holds a lock with one key of 64 bits, 1701667442 << 32 | 1 (schema/session.py): PostgreSQL keeps these apart,
-- so it is not that of article 1.

-- A random uuid that sorts by time (version 7, RFC 9562), so that rows of the same time are close in the index.
CREATE FUNCTION embedq_uuid() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                    FROM 1 FOR 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;

-- The n-th of many ids for one statement, derived from one random id by replacing its last six digits with n
-- (n below 16,777,216).
CREATE FUNCTION embedq_nth_uuid(base uuid, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT encode(overlay(uuid_send(base) PLACING substring(int8send(n) FROM 6) FROM 14), 'hex')::uuid
$$;

-- Fingerprint of everything that an article's embeddings are computed from.
CREATE FUNCTION embedq_source(title text, slug text, content text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT md5(coalesce(title, '') || E'\x01' || coalesce(slug, '') || E'\x01' || coalesce(content, ''))
$$;

-- Whether a failed task was cancelled, by embedq or in psql, where others sign as they like.
CREATE FUNCTION embedq_is_cancelled(message text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(message, '') ILIKE 'cancelled by%'
$$;

-- An error text without the parts that differ between occurrences: URLs, paths, quoted words, ids, numbers. An id is a
-- word of hex digits, or one with a digit; it may consist of digits only, so both are written alike. Whoever cancelled,
-- it is one group, which the overview counts.
-- Backslashes are in E'' here and elsewhere, so that literals do not depend on standard_conforming_strings.
CREATE FUNCTION embedq_normalise_error(message text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN embedq_is_cancelled(message) THEN 'Cancelled by administrator' ELSE left(btrim(
        regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(
            left(split_part(coalesce(message, ''), E'\n', 1), 600),
            '[a-z][a-z0-9+.-]*://[^[:space:]''",)>]+', '<url>', 'gi'),
            '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', '<uuid>', 'gi'),
            '''[^'']*''|"[^"]*"|`[^`]*`', '<text>', 'g'),
            '(^|[[:space:](=:])[~.]{0,2}/[^[:space:]:,)]+', E'\\1<path>', 'g'),
            E'\\m[a-z0-9_]+(-[a-z0-9_]+){2,}\\M', '<slug>', 'gi'),
            E'\\m([a-z]+_)?((0x)?[0-9a-f]{8,}|[a-z]*[0-9][0-9a-z]{11,}|[0-9a-z]{11,}[0-9][a-z]*)\\M', '<n>', 'gi'),
            '(<n>|[0-9]+)([.,:](<n>|[0-9]+))*', '<n>', 'g')
    ), 200) END
$$;

-- Eight hex digits that identify a group of failures. search_path is pinned because PostgreSQL 17 builds indexes with
-- an empty one.
-- COST: it takes some microseconds. This matters if the statistics show no failures among millions of tasks: any
-- index on failed tasks would then look as good as the one on this expression.
-- Its results are stored. A migration that changes it must lock embedding_tasks IN SHARE ROW EXCLUSIVE MODE, rebuild
-- embedq_tasks_failure_group_idx and call embedq_repair_counts().
CREATE FUNCTION embedq_fingerprint(message text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 10000 SET search_path FROM CURRENT AS $$
    SELECT left(md5(embedq_normalise_error(message)), 8)
$$;

-- high before normal before low; anything else counts as normal.
CREATE FUNCTION embedq_rank(priority text) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE priority WHEN 'high' THEN 0 WHEN 'low' THEN 2 ELSE 1 END
$$;

-- Increments a counter that other programs may write too: a negative value counts as 0, and at its maximum it stays.
-- Otherwise a value out of range would raise an error for every session that processes the row, for ever.
CREATE FUNCTION embedq_one_more(n int) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT least(greatest(n, 0), 2147483646) + 1
$$;

CREATE FUNCTION embedq_one_more(n smallint) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (least(greatest(n, 0), 32766) + 1)::smallint
$$;

-- Milliseconds from one time to another, not below 0 where one was rounded; null if one of them is null or infinite.
CREATE FUNCTION embedq_elapsed_ms(since timestamptz, until timestamptz) RETURNS numeric
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN isfinite(since) AND isfinite(until)
                THEN round(extract(epoch FROM greatest(until - since, interval '0'))::numeric * 1000, 3) END
$$;

-- When a task was claimed. If that is unknown, or more than a day in the future, it counts as claimed for ever: such a
-- task must be taken back, too.
CREATE FUNCTION embedq_held_since(processed_at timestamptz, created_at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN coalesce(processed_at, created_at) <= now() + interval '1 day'
                THEN coalesce(processed_at, created_at) ELSE '-infinity' END
$$;

-- Whether a worker is alive: it has neither ended nor been declared dead, and has sent a heartbeat within this time. One
-- from the future, by a clock that was set back since, says nothing: the next one of a worker that is alive comes soon.
CREATE FUNCTION embedq_alive(state text, heartbeat_at timestamptz, silent_for interval) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT state IN ('running', 'stopping') AND heartbeat_at BETWEEN now() - silent_for AND now() + silent_for
$$;

-- Whether a folder is within another one, given without slashes around it: all are within the empty one, and each within
-- itself. Other programs may write slashes around theirs. Without a setting, so that it becomes part of a query.
CREATE FUNCTION embedq_is_within(p_folder text, p_other text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT p_other = '' OR starts_with(btrim(p_folder, '/') || '/', p_other || '/')
$$;

-- An operator, given as user@host, in the form used in the audit log.
CREATE FUNCTION embedq_signature(p_by text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT jsonb_build_object('operator', regexp_replace(p_by, '@[^@]*$', ''),
                              'host', coalesce(substring(p_by FROM '@([^@]*)$'), ''))
$$;

-- Notifies, unless the server's queue of notifications is almost full, because a session of any database listens and does
-- not end its transaction. In a full queue, every transaction that notifies would fail. Whoever listens to us polls too.
CREATE FUNCTION embedq_notify(p_channel text, p_payload text) RETURNS void LANGUAGE sql VOLATILE AS $$
    SELECT pg_notify(p_channel, p_payload) WHERE pg_notification_queue_usage() < 0.9
$$;

-- Indexes call these as the role that writes; new functions may not be executable by PUBLIC by default.
GRANT EXECUTE ON FUNCTION embedq_rank(text), embedq_fingerprint(text), embedq_normalise_error(text),
    embedq_is_cancelled(text) TO PUBLIC;
