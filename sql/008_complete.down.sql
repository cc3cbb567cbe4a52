DROP FUNCTION IF EXISTS embedq_complete(uuid, text, uuid[], bigint[], timestamptz[], int[], text[], text[], int[],
    text[], int[], int[], text[], text[], text[], text[], anyarray);
