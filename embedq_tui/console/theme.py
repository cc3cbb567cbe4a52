"""Colours of the style sheets, and what the terminal can show."""

from __future__ import annotations

import os

from textual.theme import Theme

DARK = Theme(
    name="embedq",
    primary="#5fafd7",
    secondary="#8787af",
    accent="#d7af5f",
    warning="#d7af00",
    error="#d75f5f",
    success="#5faf5f",
    foreground="#d0d0d0",
    background="#121212",
    surface="#1c1c1c",
    panel="#262626",
    dark=True,
)
LIGHT = Theme(
    name="embedq-light",
    primary="#005f87",
    secondary="#5f5f87",
    accent="#875f00",
    warning="#875f00",
    error="#af0000",
    success="#005f00",
    foreground="#1c1c1c",
    background="#fafafa",
    surface="#f0f0f0",
    panel="#e4e4e4",
    dark=False,
)


def ascii_only() -> bool:
    """Whether the terminal shows nothing but ASCII, as far as its kind and its locale say.

    Python's own idea of the locale does not tell: it takes C for UTF-8, and sets LC_CTYPE to C.UTF-8 then.
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
    """Whether the terminal has sixteen colours at most, or is to show none."""
    if os.environ.get("NO_COLOR"):
        return True
    term = os.environ.get("TERM", "")
    return (
        not os.environ.get("COLORTERM") and "256" not in term and "direct" not in term and "kitty" not in term
    )
