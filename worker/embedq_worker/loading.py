"""Loading many modules at once."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Import in the block: the garbage collector looks neither meanwhile nor later at what was loaded.

    Nor at the end of the process, when it would go through all of it once more: of a short command that is
    more than a tenth.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
