DROP VIEW IF EXISTS embedq_live_counts;
DROP TABLE IF EXISTS embedq_count_deltas, embedq_counts, embedq_articles, embedq_providers, embedq_control,
    embedq_workers;
