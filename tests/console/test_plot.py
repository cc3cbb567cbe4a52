"""The widget of plots."""

from __future__ import annotations

from rich.style import Style
from textual.app import App, ComposeResult
from textual.geometry import Region

from embedq_tui.rendering.plots import Series
from embedq_tui.widgets.plot import Plot

MINUTES = 60


class _Shows(App[None]):
    def compose(self) -> ComposeResult:
        yield Plot("Ended")


async def test_a_plot_that_moves_is_drawn_in_the_same_few_styles() -> None:
    """Textual and Rich keep each style they ever met: those of a plot that moves for an hour were 1 MB."""
    app = _Shows()
    async with app.run_test() as pilot:
        plot, seen = app.query_one(Plot), []
        for minute in range(0, MINUTES, 5):
            ended = [0.0] * (MINUTES - minute) + [1_000.0] * minute
            plot.show([Series("ended", ended)], [str(place) for place in range(MINUTES)])
            await pilot.pause()
            seen.append(_styles(plot))
        assert seen[1]
        assert set().union(*seen[2:]) == seen[1]


def _styles(plot: Plot) -> set[Style | None]:
    strips = plot.render_lines(Region(0, 0, *plot.size))
    return {segment.style for strip in strips for segment in strip}
