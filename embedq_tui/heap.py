"""Memory that nobody needs any more goes back: what the C library keeps, and what libraries remember."""

from __future__ import annotations

import asyncio
import ctypes
import gc
from contextlib import suppress

from rich.cells import cached_cell_len

_M_MMAP_THRESHOLD = -3
_LARGE = 128 * 1024

SETTLED_S = 5.0
"""Seconds after which what a console keeps is there."""

SWEPT_EVERY_S = 15.0


def give_back_large() -> None:
    """Have large blocks go back to the system when they are freed, for as long as the process lives.

    glibc raises the size from which it does so with each such block, up to 32 MiB; later ones then lie
    between what is kept, and a console that stands for hours grows and grows. Elsewhere nothing is done.
    See mallopt(3).
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


def forget_widths() -> None:
    """Have Rich forget how wide texts are.

    It remembers the last 4,096: over 1 MB of numbers and ages that are never shown again.
    """
    cached_cell_len.cache_clear()


async def swept() -> None:
    """Free now and then what nothing but itself refers to; ends by cancellation only.

    Textual's lines remember their own shapes, and a line across the screen is a shape of itself: there are
    eight of them a second under load. Python looks for such circles every minute or two, and what they leave
    between what stays is lost to others. What was there at the beginning stays, and is not looked at: so it
    takes 1 to 4 ms, where it took 25.
    """
    await asyncio.sleep(SETTLED_S)
    gc.freeze()
    while True:
        await asyncio.sleep(SWEPT_EVERY_S)
        gc.collect()


def settle_anew() -> None:
    """Let go of what was expected to stay, and did not."""
    if gc.get_freeze_count():
        gc.unfreeze()
        gc.collect()
        gc.freeze()
