"""Filters of the audit log as an operator types them."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from embedq_tui.filters.audit_filter import Wanted, complete, parse_filter
from embedq_worker.errors import UsageError
from embedq_worker.insights.audit import AuditFilter


def test_terms_and_words() -> None:
    assert parse_filter("  ") == Wanted(AuditFilter(level="info"))
    found = parse_filter('level:w category:bulk article:intro since:2h "timed out" ann')
    assert found.filter == AuditFilter(
        level="warn", category="bulk_operations", since=timedelta(hours=2), text="timed out ann"
    )
    assert found.article == "intro"
    task = uuid4()
    assert parse_filter(f"task:{task}").filter == AuditFilter(level="debug")
    assert [parse_filter(f"task:{name}").task for name in (task, "0badcafe-1")] == [task, "0badcafe1"]
    assert parse_filter(f"task:{task} level:info").filter.level == "info"
    assert parse_filter("operation:x").filter.level == "debug"
    assert parse_filter("don't").filter.text == "don't"
    assert parse_filter('it\'s "timed out" task:0badcafe1').filter.text == "it's timed out"
    for text in ("http://localhost:11434", "ValueError:x", "error: no such key"):
        assert parse_filter(f'"{text}"').filter.text == text


@pytest.mark.parametrize(
    "typed",
    [
        "level:fatal",
        "level:",
        'article:""',
        '"open',
        "task:7",
        "since:soon",
        "level:info level:warn",
        "levl:warn",
        "slug:intro",
        'error:"timed out"',
        "since:2999-01-01",
        "category:x",
        "\0",
    ],
)
def test_what_cannot_be_understood_is_told(typed: str) -> None:
    with pytest.raises(UsageError):
        parse_filter(typed)


def test_only_known_words_get_into_a_statement() -> None:
    with pytest.raises(UsageError):
        AuditFilter(level="warn' OR true --")
    with pytest.raises(UsageError):
        AuditFilter(category="performance' OR true --")


def test_another_level_keeps_the_rest() -> None:
    changed = parse_filter('level:info "timed out" article:intro').at_level("error")
    assert changed == parse_filter(changed.typed)
    assert changed.filter == AuditFilter(level="error", text="timed out")
    assert changed.article == "intro"


def test_completion() -> None:
    assert complete("le") == "level:"
    assert complete("x category:b") == "x category:bulk_operations"
    assert complete("x ") is None
    assert complete("zzz") is None
