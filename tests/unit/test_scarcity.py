"""Limits of the machine that a process meets."""

from __future__ import annotations

import errno

import pytest

from embedq_worker.process.scarcity import scarce

MET = [
    OSError(errno.EMFILE, "Too many open files"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    MemoryError(),
    RuntimeError("can't start new thread"),
    ImportError("_random.so: failed to map segment from shared object"),
]


@pytest.mark.parametrize("error", MET, ids=repr)
def test_a_limit_is_told_alone_and_in_a_group(error: Exception) -> None:
    for raised in (error, ExceptionGroup("", [ValueError(), ExceptionGroup("", [error])])):
        limit = scarce(raised)
        assert limit is not None
        assert limit.message
        assert limit.advice


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "no"), ModuleNotFoundError("x"), ValueError()])
def test_a_bug_is_no_limit(error: Exception) -> None:
    assert scarce(error) is None
