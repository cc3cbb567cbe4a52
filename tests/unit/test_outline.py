"""Outlines of texts that are parsed in parts."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from embedq_worker.content.outline import outline
from tests.unit.test_chunking_properties import PIECES

BLOCKS = st.one_of(
    PIECES,
    st.sampled_from(
        [
            "[a]: /u\n'ti\ntle'\n",
            "lazy\n",
            "<script>\n",
            "<b>\n",
            "1. a\n\n   ```\n   # x\n",
            "- " * 22 + "deep\n",
        ]
    ),
)


@settings(max_examples=200)
@given(text=st.lists(BLOCKS, max_size=40).map("".join), part=st.integers(1, 300))
@example(text="1. a\n\n   ```\n   # x\n>[a]: /u\n'ti\ntle'\n<b>\n   # x\n", part=1)
@example(text="```\n# no\n\n# no\n```\n# a\nb\n", part=3)
def test_parts_make_no_difference(text: str, part: int) -> None:
    text = text.replace("\r", "\n")
    assert outline(text, lambda: None, part=part) == outline(text, lambda: None)


@pytest.mark.parametrize("first", ["", "> ", "- ", "# h\n"])
@pytest.mark.parametrize("line", ["a\n", "[a]: b\n", "> a\n", "- a\n", "-\n", "a\n\n"])
def test_a_long_block_can_be_broken_off_anywhere(first: str, line: str) -> None:
    lines = 1000
    asked: list[None] = []
    outline(first + lines * line, lambda: asked.append(None))
    assert len(asked) >= lines
