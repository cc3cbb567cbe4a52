"""What the terminal can do, judging by TERM and the environment."""

from __future__ import annotations

import os
import sys


def can_redraw() -> bool:
    """Whether standard output is a terminal that can move its cursor."""
    return (
        sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")
    )


def ascii_only() -> bool:
    """Whether the terminal shows only ASCII, judging by TERM and the locale.

    Python's view of the locale is no help: it treats C as UTF-8, and then sets LC_CTYPE to C.UTF-8.
    """
    if os.environ.get("TERM") in ("linux", "dumb", "vt100", "vt220"):
        return True
    character = os.environ.get("LC_CTYPE", "")
    named = (
        os.environ.get("LC_ALL")
        or ("" if character == "C.UTF-8" else character)
        or os.environ.get("LANG", "")
    )
    return bool(named) and "utf" not in named.lower()


def few_colours() -> bool:
    """Whether the terminal has at most sixteen colours, or should show none."""
    if os.environ.get("NO_COLOR"):
        return True
    term = os.environ.get("TERM", "")
    return (
        not os.environ.get("COLORTERM") and "256" not in term and "direct" not in term and "kitty" not in term
    )
