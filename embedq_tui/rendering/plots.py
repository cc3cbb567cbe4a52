"""Line plots as terminal text. The only module that imports plotext, which is loaded with the first plot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.text import Text

LEAST_WIDTH, LEAST_HEIGHT = 24, 6
"""Minimum size of a plot, in columns and rows."""

POINTS = 120
"""More points make a plot slower, not better."""

TINY = 1e-100
"""Values up to this count as zero: dividing by anything smaller overflows."""

_TICKS_APART = 16
_ROWS_APART = 2
_COLOURS = ("cyan+", "yellow+", "magenta+")
_MARKERS = ("braille", "•", "+")
_ASCII_MARKERS = ("*", "o", "+")
_TO_ASCII = str.maketrans("┌┐└┘├┤┬┴┼─│", "+++++++++-|")
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


class Series(NamedTuple):
    """One line of a plot.

    Attributes:
        name: Shown if there are several lines.
        values: One per label, none negative; None or non-finite where nothing was measured.
    """

    name: str
    values: Sequence[float | None]


def plot(
    lines: Sequence[Series],
    labels: Sequence[str],
    *,
    title: str,
    width: int,
    height: int,
    ascii_only: bool = False,
) -> Text | None:
    """Draw lines, with different markers so that they can be told apart without colours.

    Args:
        lines: At most three.
        labels: One per point, left to right.
        title: Shown above, with the unit. Like names and labels, single-width characters only.
        width: Columns to use.
        height: Rows to use.
        ascii_only: Use ASCII characters only.

    Returns:
        The plot; None if there is nothing to draw, or no room.
    """
    from rich.text import Text

    each = -(-len(labels) // POINTS) or 1
    thinned = [Series(line.name, _thin(line.values, each)) for line in lines]
    drawn = [line for line in thinned if any(value is not None for value in line.values)]
    if not drawn or width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return None
    shown = labels[::each]
    import plotext

    plotext.clear_figure()
    plotext.limit_size(False, False)
    plotext.plot_size(width, height)
    plotext.theme("clear")
    plotext.title(title)
    markers = _ASCII_MARKERS if ascii_only else _MARKERS
    for line, marker, colour in zip(drawn, markers, _COLOURS, strict=False):
        name = line.name if len(drawn) > 1 else None
        for places, values in _runs(line.values):
            plotext.plot(places, values, label=name, marker=marker, color=colour)
            name = None
    most = max(value for line in drawn for value in line.values if value is not None)
    steps = _steps(most, height)
    plotext.ylim(0, most if most > TINY else 1.0)
    plotext.yticks(steps, [_short(step) for step in steps])
    plotext.xlim(0, max(len(shown) - 1, 1))
    ticks = _ticks(len(shown), width)
    plotext.xticks(ticks, [shown[place] for place in ticks])
    picture = Text.from_ansi(plotext.build().rstrip("\n"))
    plotext.clear_figure()
    if ascii_only:
        picture.plain = picture.plain.translate(_TO_ASCII)
    return picture


def _thin(values: Sequence[float | None], each: int) -> list[float | None]:
    """Merge every `each` values into their maximum: peaks are what people look for in a plot."""
    known = [value if value is not None and math.isfinite(value) else None for value in values]
    chunks = (known[start : start + each] for start in range(0, len(known), each))
    return [max((value for value in chunk if value is not None), default=None) for chunk in chunks]


def _runs(values: Sequence[float | None]) -> Iterator[tuple[list[int], list[float]]]:
    """Runs without a gap: nothing is drawn across a gap, as nothing was measured there."""
    places: list[int] = []
    known: list[float] = []
    for place, value in enumerate(values):
        if value is not None:
            places.append(place)
            known.append(value)
        elif places:
            yield places, known
            places, known = [], []
    if places:
        yield places, known


def _ticks(count: int, width: int) -> list[int]:
    """Positions of as many labels as fit, always including the first and the last."""
    most = max(2, min(count, width // _TICKS_APART))
    return sorted({round(step * (count - 1) / (most - 1)) for step in range(most)})


def _steps(most: float, height: int) -> list[float]:
    """Round numbers from zero to the highest value, as many as fit."""
    if most <= TINY:
        return [0.0, 1.0]
    rough = most / max((height - 5) // _ROWS_APART, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * power for factor in (1, 2, 2.5, 5) if factor * power >= rough), 10 * power)
    return [number * step for number in range(math.floor(most / step + 1e-9) + 1)]


def _short(value: float) -> str:
    """A number in few characters: ``0.25``, ``40``, ``1.5k``."""
    for unit, letter in _UNITS:
        if value >= unit:
            return f"{value / unit:.4g}{letter}"
    return f"{value:.4g}"
