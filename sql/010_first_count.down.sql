-- Nothing to undo: the counts go with their tables.
SELECT 1;
