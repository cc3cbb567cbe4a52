"""Numbers over time in one line of characters."""

from __future__ import annotations

from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.-=oO#@"


def sparkline(values: Sequence[float], width: int, *, ascii_only: bool = False) -> str:
    """Draw values, the newest at the right; each character stands for an equal number of them.

    Args:
        values: The oldest first, none below zero.
        width: Characters.
        ascii_only: Nothing but ASCII can be shown.

    Returns:
        At most `width` characters; nothing where there is nothing but zeros.
    """
    if width <= 0 or not any(values):
        return ""
    each = max(-(-len(values) // width), 1)
    # Cut from the newest, so that only the oldest bar stands for fewer.
    chunks = [values[max(end - each, 0) : end] for end in range(len(values), 0, -each)][::-1]
    means = [sum(chunk) / len(chunk) for chunk in chunks]
    bars, top = ASCII_BARS if ascii_only else BARS, max(means)
    return "".join(bars[min(int(mean / top * len(bars)), len(bars) - 1)] if mean else " " for mean in means)
