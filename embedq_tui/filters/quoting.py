"""Values in the text of a filter."""

from __future__ import annotations

import re


def quoted(text: str) -> str:
    """A value as a filter is written: in double quotes where it would not be read as one word."""
    if re.fullmatch(r'[^\s"\\]+', text):
        return text
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
