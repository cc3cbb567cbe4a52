"""Delays that grow and are spread."""

from __future__ import annotations

import random
from typing import NamedTuple


class Backoff(NamedTuple):
    """Exponential backoff with jitter: between half and all of ``base_s * 2**n``, capped.

    Attributes:
        base_s: Seconds of the first delay.
        cap_s: Seconds of the longest.
    """

    base_s: float
    cap_s: float

    def delay_s(self, tries: int) -> float:
        """Seconds to wait.

        Args:
            tries: Failures before this one, 0 for the first.
        """
        # 2**60 times a millisecond is beyond any cap; beyond 2**1023 a float would overflow.
        longest = min(self.base_s * 2.0 ** min(max(tries, 0), 60), self.cap_s)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - to spread load, not to keep a secret
