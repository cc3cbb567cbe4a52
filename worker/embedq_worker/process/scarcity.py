"""Failures of a process that met a limit of its machine; they are no bugs."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from embedq_worker.errors import EmbedqError

_UNNAMED = ("failed to map segment", "can't start new thread")
"""In errors without a type of their own: of the dynamic linker, and of Python."""


def scarce(error: BaseException) -> EmbedqError | None:
    """The limit that a process met, and how to raise it; None if it met none.

    Args:
        error: What was raised, or a group.
    """
    for each in _leaves(error):
        number = each.errno if isinstance(each, OSError) else None
        if number in (errno.EMFILE, errno.ENFILE):
            return EmbedqError(
                f"this process may not open more files: {each}",
                "raise the limit: ulimit -n, or LimitNOFILE= of the systemd unit",
            )
        if (
            isinstance(each, MemoryError)
            or number == errno.ENOMEM
            or (isinstance(each, ImportError | RuntimeError) and any(text in str(each) for text in _UNNAMED))
        ):
            return EmbedqError(
                f"this process gets no more memory or threads: {str(each) or type(each).__name__}",
                "raise the limits: ulimit -v and -u, or MemoryMax= and TasksMax= of the systemd unit",
            )
    return None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
