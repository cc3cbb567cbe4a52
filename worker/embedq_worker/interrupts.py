"""Ctrl-C while modules are loaded."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held() -> Iterator[None]:
    """Let Ctrl-C wait until the end of the block, which is to be short.

    For imports: an interrupt in the midst of one may come where Python only prints an exception and goes on,
    and the command would be carried out all the same.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
