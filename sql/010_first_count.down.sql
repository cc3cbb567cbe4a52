-- Nothing to undo: the counts are dropped with their tables.
SELECT 1;
