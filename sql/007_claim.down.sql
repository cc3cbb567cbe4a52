DROP FUNCTION IF EXISTS embedq_claim(uuid, text, text, int, text[], text[], timestamptz[], uuid[]);
DROP FUNCTION IF EXISTS embedq_kept_hashes(int, text);
DROP FUNCTION IF EXISTS embedq_in_folders(int, text[]);
DROP FUNCTION IF EXISTS embedq_provider_held(text);
DROP FUNCTION IF EXISTS embedq_claim_block();
