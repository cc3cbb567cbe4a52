"""What stands behind widgets, and is seen between them at most."""

from __future__ import annotations

from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget


class Backdrop(Widget):
    """A container without borders: each of its lines is like the first one, which alone is drawn.

    Textual draws each line, and keeps it in all the shapes it ever had: of the 370 strips that it kept of the
    overview, 230 were of nothing. Name it after the container: Textual follows the first base for its styles.
    """

    def render_lines(self, crop: Region) -> list[Strip]:
        """The first line, as often as it is wanted."""
        return super().render_lines(Region(crop.x, 0, crop.width, 1)) * crop.height
