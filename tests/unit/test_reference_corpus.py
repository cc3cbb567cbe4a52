"""The reference corpus: real texts of this interpreter, as a Markdown parser reads them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from embedq_worker.content.importing import ArticleDraft
from embedq_worker.content.reference_corpus import FOLDER, markdown_of, python_topics

UNDERLINES = '*=-~"+'


def headings(markdown: str) -> list[tuple[str, str]]:
    """Tag and text of the headings that stand at the top level."""
    tokens = MarkdownIt("commonmark").parse(markdown)
    return [
        (token.tag, inline.content)
        for token, inline in pairwise(tokens)
        if token.type == "heading_open" and token.level == 0
    ]


@pytest.fixture(scope="module")
def topics() -> list[ArticleDraft]:
    return python_topics()


def test_gives_some_eighty_articles_that_fit_the_table(topics: list[ArticleDraft]) -> None:
    assert 60 <= len(topics) <= 120
    assert len({draft.slug for draft in topics}) == len(topics)
    assert len({draft.content for draft in topics}) == len(topics)
    for draft in topics:
        assert draft.slug.startswith("python-")
        assert draft.folder == FOLDER
        assert 0 < len(draft.title) <= 500
        assert draft.is_public
        assert not draft.no_rag
        assert draft.content.strip()


def test_every_underlined_heading_and_nothing_else_is_a_markdown_heading(topics: list[ArticleDraft]) -> None:
    for draft in topics:
        lines = draft.content.split("\n")
        written = [
            (f"h{len(line) - len(line.lstrip('#'))}", line.lstrip("#").strip())
            for line in lines
            if line.startswith("#")
        ]
        assert written[0] == ("h1", draft.title)
        assert headings(draft.content) == written
        for above, below in pairwise(lines):
            assert not (
                above and len(set(below)) == 1 and below[0] in UNDERLINES and len(above) == len(below)
            )


def test_sections_keep_their_depth(topics: list[ArticleDraft]) -> None:
    statement = next(draft for draft in topics if draft.slug == "python-try")
    assert statement.title == 'The "try" statement'
    assert ("h2", '"finally" clause') in headings(statement.content)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(UNDERLINES), st.from_regex(r"[A-Z][a-z]{1,9}( [a-z]{1,9}){0,3}", fullmatch=True)
        ),
        max_size=8,
    )
)
def test_depth_follows_the_underline(sections: list[tuple[str, str]]) -> None:
    rest = "".join(f"{text}\n{char * len(text)}\n\nwords\n\n   # a comment\n\n\n" for char, text in sections)
    assert headings(markdown_of(rest)) == [
        (f"h{UNDERLINES.index(char) + 1}", text) for char, text in sections
    ]


@pytest.mark.parametrize(
    "rest", ["words\n\n=====  =====\na      b\n=====  =====\n", "short\n==========\n", "a\n\n----\n\nb"]
)
def test_tables_and_rules_are_left_alone(rest: str) -> None:
    assert markdown_of(rest) == rest
