"""One task for one article, as another program queues it: the same for all who use the public tables.

An article has one task at a time, so each task is for another one.
"""

ARTICLES = """
CREATE SEQUENCE bench_article;
INSERT INTO articles (title, slug, content)
SELECT 'One ' || i, 'one-' || i, 'One ' || i FROM generate_series(1, 2000) AS i"""
"""For as many tasks; on empty tables."""

INSERT = """INSERT INTO embedding_tasks (article_id, slug, operation)
            VALUES (nextval('bench_article')::int, 'one', 'update')"""
