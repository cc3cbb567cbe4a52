"""Exponential backoff with jitter."""

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
            tries: Earlier failures in a row, 0 after the first failure.
        """
        # 2**60 milliseconds exceed any cap; 2**1024 would overflow a float.
        longest = min(self.base_s * 2.0 ** min(max(tries, 0), 60), self.cap_s)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - to spread load, not to keep a secret
