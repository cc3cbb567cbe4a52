"""Warnings of libraries, which Python would print together with the place in its source that warned."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

_PATH = re.compile(r"PosixPath\('(.*?)'\)")


def tell_warnings(tell: Callable[[str], None]) -> None:
    """Have them told on one line: asyncpg warns of a password file that others may read, and ignores it.

    Args:
        tell: Called with each warning.
    """
    warnings.showwarning = lambda message, *where: tell(_PATH.sub(r"\1", str(message)))
