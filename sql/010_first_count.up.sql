-- Counts the rows from before the triggers. A migration of its own, because 009 must be committed first.
SELECT count(*) FROM embedq_repair_counts();
SELECT embedq_fold_counts();
