"""Lines over time as text for a terminal. Nobody else knows plotext, which is loaded with the first plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

LEAST_WIDTH, LEAST_HEIGHT = 24, 6
"""A plot that has less room is none."""

_TICKS_APART = 16
_COLOURS = ("cyan+", "yellow+", "magenta+")
_MARKERS = ("braille", "•", "+")
_ASCII_MARKERS = ("*", "o", "+")
_TO_ASCII = str.maketrans("┌┐└┘├┤┬┴┼─│", "+++++++++-|")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot.

    Attributes:
        name: Shown where there are several.
        values: One per label; None where nothing was measured.
    """

    name: str
    values: Sequence[float | None]


def plot(
    lines: Sequence[Line],
    labels: Sequence[str],
    *,
    title: str,
    width: int,
    height: int,
    ascii_only: bool = False,
) -> Text | None:
    """Draw lines. They differ by their marks too, so that they can be told apart without colours.

    Args:
        lines: Three at most.
        labels: Of the points, left to right.
        title: Above it, with the unit.
        width: Columns it may take.
        height: Rows it may take.
        ascii_only: For terminals that show nothing else.

    Returns:
        The plot; None where there is nothing to draw, or no room.
    """
    from rich.text import Text

    drawn = [line for line in lines if any(value is not None for value in line.values)]
    if not drawn or width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return None
    import plotext

    plotext.clear_figure()
    plotext.limit_size(False, False)
    plotext.plot_size(width, height)
    plotext.theme("clear")
    plotext.title(title)
    markers = _ASCII_MARKERS if ascii_only else _MARKERS
    for line, marker, colour in zip(drawn, markers, _COLOURS, strict=False):
        points = [(place, value) for place, value in enumerate(line.values) if value is not None]
        places, values = [place for place, _ in points], [value for _, value in points]
        label = line.name if len(drawn) > 1 else None
        plotext.plot(places, values, label=label, marker=marker, color=colour)
    most = max(value for line in drawn for value in line.values if value is not None)
    plotext.ylim(0, most or 1)
    plotext.xlim(0, max(len(labels) - 1, 1))
    shown = _ticks(len(labels), width)
    plotext.xticks(shown, [labels[place] for place in shown])
    picture = Text.from_ansi(plotext.build().rstrip("\n"))
    plotext.clear_figure()
    if ascii_only:
        picture.plain = picture.plain.translate(_TO_ASCII)
    return picture


def _ticks(count: int, width: int) -> list[int]:
    """Places of the labels there is room for, the first and the last among them."""
    most = max(2, min(count, width // _TICKS_APART))
    return sorted({round(step * (count - 1) / (most - 1)) for step in range(most)})
