"""What the database has been refusing for so long that an operator should know."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from time import monotonic
from typing import NamedTuple

from embedq_worker.database.blockers import OUT_OF_TIME, Blocked
from embedq_worker.database.failures import one_line
from embedq_worker.database.line_watch import LineWatch

LASTING_S = 5.0
"""Seconds after which a refusal is more than a restart of the server or a conflict."""

ALONE_S = 60.0
"""Seconds for which a task is kept that the database refuses although it works, as by a broken trigger, and
for which it is then left alone: other tasks need the worker too."""


class _Refusal(NamedTuple):
    since: float
    error: str
    until: float = inf


class Refusals:
    """Statements that are being retried because the database refuses them.

    Args:
        watch: Knows for whose lock the connections wait.
        on_change: Called when one has lasted for a while, and when none has any more.
    """

    def __init__(self, watch: LineWatch, on_change: Callable[[], object]) -> None:
        self._watch = watch
        self._on_change = on_change
        self._by_caller: dict[object, _Refusal] = {}
        self._told = False

    def refused(self, caller: object, error: BaseException) -> None:
        """Note that the database refused a statement, which its caller is going to retry."""
        waited = isinstance(error, Blocked)  # for so long that it was found out for whose lock
        if isinstance(error, OUT_OF_TIME):
            self._watch.suspect_lock()
            if blocker := self._watch.blocker:
                error = Blocked(blocker)
        before = self._by_caller.get(caller)
        since = before.since if before else monotonic()
        self._by_caller[caller] = _Refusal(-inf if waited else since, one_line(error))
        self._tell()

    def ended(self, caller: object, *, after_s: float = 0.0) -> None:
        """Note that the caller does not retry any more; what was refused is still to be known for so long."""
        self._tell()  # it may have begun to last since it was noted, and be in the last heartbeat
        if refusal := self._by_caller.pop(caller, None):
            self._by_caller[caller] = refusal._replace(until=monotonic() + after_s)
        self._tell()

    @property
    def lasting(self) -> str:
        """The error of one that has lasted for a while; empty if there is none."""
        now = monotonic()
        lasting = (one for one in self._by_caller.values() if one.since < now - LASTING_S and one.until > now)
        return next((one.error for one in lasting), "")

    @property
    def present(self) -> str:
        """Why statements do not get through at the moment: `lasting`, or whose lock one waits for."""
        blocker = self._watch.waits_for
        return self.lasting or (one_line(Blocked(blocker)) if blocker else "")

    def _tell(self) -> None:
        now = monotonic()
        self._by_caller = {caller: one for caller, one in self._by_caller.items() if one.until > now}
        if self._told != bool(self.lasting):
            self._told = not self._told
            self._on_change()
