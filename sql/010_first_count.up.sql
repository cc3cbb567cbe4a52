-- Counts the rows that were there before the triggers. A transaction of its own: 009 has to be committed first.
SELECT count(*) FROM embedq_repair_counts();
SELECT embedq_fold_counts();
