DROP FUNCTION IF EXISTS embedq_notify(text, text), embedq_signature(text), embedq_is_within(text, text),
    embedq_one_more(int), embedq_one_more(smallint), embedq_elapsed_ms(timestamptz, timestamptz),
    embedq_held_since(timestamptz, timestamptz), embedq_alive(text, timestamptz, interval);
DROP FUNCTION IF EXISTS embedq_rank(text), embedq_fingerprint(text), embedq_normalise_error(text), embedq_is_cancelled(text),
    embedq_source(text, text, text), embedq_uuid(), embedq_nth_uuid(uuid, bigint);
