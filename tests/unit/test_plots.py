"""Plots keep within the space they are given, whatever they are given to draw."""

from __future__ import annotations

import math

from hypothesis import example, given, settings
from hypothesis import strategies as st

from embedq_tui.rendering.plots import LEAST_HEIGHT, LEAST_WIDTH, POINTS, Series, plot

values = st.one_of(
    st.none(),
    st.just(0.0),
    st.floats(0, 1e15, allow_subnormal=True),
    st.sampled_from([math.nan, math.inf, -math.inf, 5e-324, 1e-9, 1e300]),
)


@given(
    lines=st.lists(st.lists(values, min_size=0, max_size=200), min_size=1, max_size=3),
    width=st.integers(-1, 200),
    height=st.integers(-1, 60),
    title=st.text("abc XYZ,%/", max_size=60),
    ascii_only=st.booleans(),
)
@example([[0.0] * 60], 80, 12, "all zero", False)
@example([[5.0]], 80, 12, "one point", False)
@example([[math.nan] * 5], 80, 12, "none is a number", True)
@example([[1.0, math.nan, 2.0, None, 3.0]], LEAST_WIDTH, LEAST_HEIGHT, "gaps", True)
@settings(max_examples=60)
def test_a_plot_is_never_wider_or_higher_than_asked(
    lines: list[list[float | None]], width: int, height: int, title: str, ascii_only: bool
) -> None:
    count = max(map(len, lines))
    padded = [Series(f"line {n}", [*line, *[None] * (count - len(line))]) for n, line in enumerate(lines)]
    labels = [f"11-24 {n % 24:02}:00" for n in range(count)]
    picture = plot(padded, labels, title=title, width=width, height=height, ascii_only=ascii_only)
    anything = any(value is not None and math.isfinite(value) for line in lines for value in line)
    if not anything or width < LEAST_WIDTH or height < LEAST_HEIGHT:
        assert picture is None
        return
    assert picture is not None
    rows = picture.split("\n", allow_blank=True)
    assert len(rows) <= height
    assert max(row.cell_len for row in rows) <= width
    if ascii_only:
        assert picture.plain.isascii()


def test_many_points_are_thinned_and_the_peak_stays() -> None:
    flat = [1.0] * 10_000
    flat[4_321] = 1_000.0
    labels = [str(n) for n in range(len(flat))]
    peaked = plot([Series("x", flat)], labels, title="t", width=120, height=14)
    low = plot([Series("x", [1.0] * POINTS)], labels[:POINTS], title="t", width=120, height=14)
    assert peaked is not None
    assert low is not None
    assert "1k" in peaked.plain
    assert labels[-1] not in peaked.plain  # a label stands for the first point of those it stands for
    assert peaked.plain.count("\n") == low.plain.count("\n")


def test_what_was_not_measured_is_a_gap() -> None:
    broken = plot(
        [Series("x", [5.0] * 20 + [None] * 20 + [5.0] * 20)], [str(n) for n in range(60)],
        title="", width=80, height=10,
    )  # fmt: skip
    whole = plot([Series("x", [5.0] * 60)], [str(n) for n in range(60)], title="", width=80, height=10)
    assert broken is not None
    assert whole is not None

    def drawn(text: str) -> int:
        return sum("\u2800" < letter <= "\u28ff" for letter in text)

    assert drawn(broken.plain) < 0.8 * drawn(whole.plain)
