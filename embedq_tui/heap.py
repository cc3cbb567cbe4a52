"""What the allocator of the C library does with memory that is freed."""

from __future__ import annotations

import ctypes
from contextlib import suppress

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
