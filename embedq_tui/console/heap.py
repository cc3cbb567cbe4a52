"""Returning unused memory that the C library and other libraries would keep."""

from __future__ import annotations

import asyncio
import ctypes
import gc
from contextlib import suppress

from rich.cells import cached_cell_len

_M_MMAP_THRESHOLD = -3
_LARGE = 128 * 1024

SETTLED_S = 5.0
"""Seconds after which a console's long-lived objects exist."""

SWEPT_EVERY_S = 5.0


def give_back_large() -> None:
    """Make glibc return large blocks to the system as soon as they are freed.

    By default glibc raises its threshold for this with every such block, up to 32 MiB. Later blocks then lie
    between long-lived ones, and a console that runs for hours keeps growing. Does nothing without glibc. See
    mallopt(3).
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


def give_back_free() -> None:
    """Return unused memory between used blocks to the system; does nothing without glibc. malloc_trim(3)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def forget_widths() -> None:
    """Clear Rich's cache of text widths.

    It holds the last 4,096 texts: over 1 MB of numbers and ages that are never shown again.
    """
    cached_cell_len.cache_clear()


async def swept() -> None:
    """Collect reference cycles regularly, until cancelled.

    Textual's strips cache their own variants, and a full-width strip is a variant of itself: eight such
    cycles a second under load. Python collects them only every minute or two; by then they have fragmented
    the heap. Objects from the start-up phase are frozen and not examined, so a collection takes 1 to 4 ms,
    not 25. While nothing happens, there is nothing to collect.
    """
    await asyncio.sleep(SETTLED_S)
    gc.freeze()
    give_back_free()
    while True:
        await asyncio.sleep(SWEPT_EVERY_S)
        if any(gc.get_count()[1:]):  # Python has collected the youngest objects since: many were made
            gc.collect()
            give_back_free()


def settle_again() -> None:
    """Collect frozen objects that have become garbage, and freeze the rest again."""
    if gc.get_freeze_count():
        gc.unfreeze()
        gc.collect()
        gc.freeze()
