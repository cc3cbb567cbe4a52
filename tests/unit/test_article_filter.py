"""Filters of articles as a line of text."""

from __future__ import annotations

import pytest

from embedq_tui.filters.article_filter import format_filter, parse_filter
from embedq_worker.errors import UsageError
from embedq_worker.insights.articles import ArticleFilter, State


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ArticleFilter()),
        ("getting started", ArticleFilter(text="getting started")),
        ("state:st,missing", ArticleFilter((State.STALE, State.MISSING))),
        ("state:em", None),  # empty or embedded
        ("state:empty", ArticleFilter((State.EMPTY,))),
        ("state:", None),
        ("state:nonsense", None),
        ('folder:"my guides/first" intro', ArticleFilter(folder="my guides/first", text="intro")),
        ("folder:/guides/", ArticleFilter(folder="guides")),
        ("don't http://x", ArticleFilter(text="don't http://x")),
        ("stat:stale", None),
        ("status:stale", None),
        ("title:intro", None),
        ("text:title:intro", ArticleFilter(text="title:intro")),
        ('folder:"open', None),
        ("folder:", None),
        (r"back\slash", ArticleFilter(text=r"back\slash")),
        ("a\x1b[31m", None),
    ],
)
def test_a_line_is_a_filter_or_refused(text: str, wanted: ArticleFilter | None) -> None:
    if wanted is None:
        with pytest.raises(UsageError):
            parse_filter(text)
    else:
        assert parse_filter(text) == wanted


@pytest.mark.parametrize(
    "wanted",
    [
        ArticleFilter((State.FAILED, State.MODEL), "a folder", "two words"),
        ArticleFilter(text='said "so"'),
        ArticleFilter(text="state:stale"),
        ArticleFilter(text="back\\slash"),
        ArticleFilter(folder='odd"name\\'),
    ],
)
def test_what_is_written_is_read_as_it_was(wanted: ArticleFilter) -> None:
    assert parse_filter(format_filter(wanted)) == wanted
