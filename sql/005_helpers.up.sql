-- Small functions that queries, indexes and triggers share.

-- A random uuid that sorts by time (version 7, RFC 9562): neighbours in time are neighbours in the index.
CREATE FUNCTION embedq_uuid() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                    FROM 1 FOR 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;

-- The n-th of many ids that a statement needs (n below 16,777,216), from one random one: its last six digits are n.
CREATE FUNCTION embedq_nth_uuid(base uuid, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT encode(overlay(uuid_send(base) PLACING substring(int8send(n) FROM 6) FROM 14), 'hex')::uuid
$$;

-- Fingerprint of everything an article's embeddings are made from.
CREATE FUNCTION embedq_source(title text, slug text, content text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT md5(coalesce(title, '') || E'\x01' || coalesce(slug, '') || E'\x01' || coalesce(content, ''))
$$;

-- An error text without what differs from one occurrence to the next: urls, uuids, paths, quoted words, numbers.
-- Backslashes are in E'' here and elsewhere: such a literal is the same where standard_conforming_strings is off.
CREATE FUNCTION embedq_normalise_error(message text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT left(btrim(
        regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(
            left(split_part(coalesce(message, ''), E'\n', 1), 600),
            '[a-z][a-z0-9+.-]*://[^[:space:]''",)>]+', '<url>', 'gi'),
            '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', '<uuid>', 'gi'),
            '''[^'']*''|"[^"]*"|`[^`]*`', '<text>', 'g'),
            '(^|[[:space:](=:])[~.]{0,2}/[^[:space:]:,)]+', E'\\1<path>', 'g'),
            E'\\m[a-z0-9_]+(-[a-z0-9_]+){2,}\\M', '<slug>', 'gi'),
            E'\\m(0x)?[0-9a-f]*[0-9][0-9a-f]{7,}\\M', '<hex>', 'gi'),
            '[0-9]+([.,:][0-9]+)*', '<n>', 'g')
    ), 200)
$$;

-- Eight hex digits that name a group of failures. The path is pinned because PostgreSQL 17 builds indexes with
-- an empty one.
-- COST: some microseconds. It matters where the statistics say nothing, of few failures among millions of tasks: any index
-- on what failed looks as good then as the one that has this in it.
-- What is made from it is kept: who changes it locks embedding_tasks IN SHARE ROW EXCLUSIVE MODE meanwhile, builds
-- embedq_tasks_failure_group_idx anew and calls embedq_repair_counts().
CREATE FUNCTION embedq_fingerprint(message text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 10000 SET search_path FROM CURRENT AS $$
    SELECT left(md5(embedq_normalise_error(message)), 8)
$$;

-- high before normal before low; anything else counts as normal.
CREATE FUNCTION embedq_rank(priority text) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE priority WHEN 'high' THEN 0 WHEN 'low' THEN 2 ELSE 1 END
$$;

-- One more, of counters that others may write too: none counts below nothing, and at its end it stays there. What is
-- out of range would else be an error for ever, and stop whoever meets the row.
CREATE FUNCTION embedq_one_more(n int) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT least(greatest(n, 0), 2147483646) + 1
$$;

CREATE FUNCTION embedq_one_more(n smallint) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (least(greatest(n, 0), 32766) + 1)::smallint
$$;

-- Milliseconds from one time to another; null where one of them is not known, or no time at all.
CREATE FUNCTION embedq_elapsed_ms(since timestamptz, until timestamptz) RETURNS numeric
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN isfinite(since) AND isfinite(until)
                THEN round((extract(epoch FROM until) - extract(epoch FROM since))::numeric * 1000, 3) END
$$;

-- Since when a task is in hand. Where nothing tells it, and where it is told what no clock can have said, that is for
-- ever: somebody has to take the task back one day.
CREATE FUNCTION embedq_held_since(processed_at timestamptz, created_at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN coalesce(processed_at, created_at) <= now() + interval '1 day'
                THEN coalesce(processed_at, created_at) ELSE '-infinity' END
$$;

-- An operator, told as user@host, as the audit log has it.
CREATE FUNCTION embedq_signature(p_by text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT jsonb_build_object('operator', regexp_replace(p_by, '@[^@]*$', ''),
                              'host', coalesce(substring(p_by FROM '@([^@]*)$'), ''))
$$;

-- Indexes call these in the name of whoever writes, also where new functions are not PUBLIC by default.
GRANT EXECUTE ON FUNCTION embedq_rank(text), embedq_fingerprint(text), embedq_normalise_error(text) TO PUBLIC;
