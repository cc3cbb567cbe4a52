DROP FUNCTION IF EXISTS embedq_disown(uuid, uuid[], bigint);
DROP FUNCTION IF EXISTS embedq_rescue(bigint, bigint, int);
DROP FUNCTION IF EXISTS embedq_make_due(int);
DROP FUNCTION IF EXISTS embedq_return(uuid, uuid[], bigint[], timestamptz[], text[], text[], text[], bigint[],
    text[]);
