"""How the embedder divides texts into requests, and a text into parts."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedq_worker.providers.base import RequestLimits
from embedq_worker.providers.tokens import estimate_tokens
from embedq_worker.service.embedder import pack, split_near_middle


@settings(max_examples=100)
@given(text=st.text(max_size=60))
def test_splitting_keeps_every_character_but_the_white_space_at_the_cut(text: str) -> None:
    halves = split_near_middle(text)
    if halves is None:
        assert len(text.strip()) < 2
        return
    left, right = halves
    assert left.strip()
    assert right.strip()
    assert "".join(text.split()) == "".join((left + right).split())
    assert max(len(left), len(right)) <= max(ceil(len(text) * 3 / 4), 1)


@pytest.mark.parametrize(
    ("text", "halves"),
    [
        ("one two three four", ("one two", "three four")),
        ("longest of all", ("longest", "of all")),
        ("international cats a", ("international", "cats a")),
        ("to be antidisestablishmentarian", ("to be antidises", "tablishmentarian")),
        ("a b", ("a", "b")),
        ("ab", ("a", "b")),
        (" a ", None),
    ],
)
def test_a_text_is_cut_at_the_white_space_nearest_to_its_middle(
    text: str, halves: tuple[str, str] | None
) -> None:
    assert split_near_middle(text) == halves


@settings(max_examples=100)
@given(
    texts=st.lists(st.text(min_size=1, max_size=80), max_size=40),
    inputs=st.integers(1, 10),
    tokens=st.integers(1, 120),
)
def test_packing_loses_nothing_and_keeps_the_limits(texts: list[str], inputs: int, tokens: int) -> None:
    packs = pack(texts, RequestLimits(inputs, tokens))
    assert sorted(text for p in packs for text in p) == sorted(texts)
    for p in packs:
        assert 1 <= len(p) <= inputs
        assert len(p) == 1 or sum(map(estimate_tokens, p)) <= tokens
    roomy = pack(texts, RequestLimits(inputs, 1_000_000))
    assert len(roomy) == ceil(len(texts) / inputs)


def test_large_texts_are_packed_first_so_that_small_ones_fill_the_gaps() -> None:
    small, large = ["s" * 140, "t" * 140], ["l" * 210, "m" * 210]  # 40 and 60 tokens
    assert [sorted(map(len, p)) for p in pack([*small, *large], RequestLimits(9, 100))] == [[140, 210]] * 2


@settings(max_examples=100)
@given(text=st.text(max_size=200))
def test_the_estimate_never_falls_below_a_third_of_the_bytes_beyond_ascii(text: str) -> None:
    estimate = estimate_tokens(text)
    assert (estimate == 0) == (text == "")
    assert estimate_tokens(text + "数") > estimate
    assert estimate >= (len(text.encode()) - len(text)) / 3
