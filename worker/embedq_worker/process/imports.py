"""Importing many modules at once: undisturbed by Ctrl-C, and without garbage collection."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Defer Ctrl-C until the end of the block, which should be short.

    An interrupt in the middle of an import may hit code where Python prints the exception and goes on, and
    the command would run regardless.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def loading() -> Iterator[None]:
    """Import in the block without garbage collection, and exempt what was imported from later collections.

    That includes the collection at the end of the process, which takes more than a tenth of a short command.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
