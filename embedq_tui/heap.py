"""Memory that nobody needs any more goes back: what the C library keeps, and what libraries remember."""

from __future__ import annotations

import ctypes
from contextlib import suppress

from rich.cells import cached_cell_len

_M_MMAP_THRESHOLD = -3
_LARGE = 128 * 1024


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
