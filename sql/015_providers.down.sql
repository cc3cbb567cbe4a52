DROP FUNCTION IF EXISTS embedq_provider_ask(text, text), embedq_provider_look(text, bigint),
    embedq_provider_works(text), embedq_provider_failed(text, text, text, text, bigint, int, boolean);
