"""What the database has been refusing for so long that an operator should know."""

from __future__ import annotations

from time import monotonic
from typing import NamedTuple

from embedq_worker.database.failures import one_line

LASTING_S = 5.0
"""Seconds after which a refusal is more than a restart of the server or a conflict."""


class _Refusal(NamedTuple):
    since: float
    error: str


class Refusals:
    """Statements that are being retried because the database refuses them."""

    def __init__(self) -> None:
        self._by_caller: dict[object, _Refusal] = {}

    def refused(self, caller: object, error: BaseException) -> None:
        """Note that the database refused a statement, which its caller is going to retry."""
        before = self._by_caller.get(caller)
        words = "no answer in time" if isinstance(error, TimeoutError) else one_line(error)
        self._by_caller[caller] = _Refusal(before.since if before else monotonic(), words)

    def ended(self, caller: object) -> None:
        """Note that the caller does not retry any more."""
        self._by_caller.pop(caller, None)

    @property
    def lasting(self) -> str:
        """The error of one that has lasted for a while; empty if there is none."""
        late = monotonic() - LASTING_S
        return next((refusal.error for refusal in self._by_caller.values() if refusal.since < late), "")
