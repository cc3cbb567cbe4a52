"""Shares: what is nearly all or nearly nothing does not look like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedq_worker.insights.shares import percentage, rounded


@pytest.mark.parametrize(
    ("share", "digits", "told"),
    [
        (0.0, 1, "0.0%"),
        (1.0, 1, "100.0%"),
        (0.9995, 1, ">99.9%"),
        (0.99999999, 0, ">99%"),
        (0.00001, 1, "<0.1%"),
        (0.004, 0, "<1%"),
        (0.996, 0, ">99%"),
        (0.5, 0, "50%"),
        (0.1234, 1, "12.3%"),
    ],
)
def test_a_percentage(share: float, digits: int, told: str) -> None:
    assert percentage(share, digits) == told


@given(st.integers(1, 10**12), st.integers(1, 10**12))
def test_a_part_is_neither_all_nor_nothing(part: int, rest: int) -> None:
    share = part / (part + rest)
    assert 0 < rounded(share) < 1
    assert abs(rounded(share) - share) <= 0.00005
    for digits in (0, 1):
        assert percentage(share, digits) not in ("0%", "0.0%", "100%", "100.0%")
