"""Numbers over time, in one line of characters."""

from __future__ import annotations

from collections.abc import Sequence

from embedq_tui.capabilities import ascii_only

BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.-=oO#@"


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw values, newest on the right; every character stands for the same number of values.

    Args:
        values: Oldest first, none negative.
        width: Maximum number of characters.

    Returns:
        At most `width` characters; empty if all values are zero.
    """
    if width <= 0 or not any(values):
        return ""
    each = max(-(-len(values) // width), 1)
    # Grouped from the newest, so that only the oldest bar may stand for fewer values.
    chunks = [values[max(end - each, 0) : end] for end in range(len(values), 0, -each)][::-1]
    means = [sum(chunk) / len(chunk) for chunk in chunks]
    bars, top = ASCII_BARS if ascii_only() else BARS, max(means)
    return "".join(bars[min(int(mean / top * len(bars)), len(bars) - 1)] if mean else " " for mean in means)
