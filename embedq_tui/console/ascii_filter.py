"""For ASCII-only terminals: draws every other character as a similar ASCII one."""

from __future__ import annotations

import re

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

KEY_NAMES = str.maketrans({"⏎": "cr", "⌫": "bksp", "↑": "up", "↓": "down", "←": "left", "→": "right"})
"""Names of keys that are otherwise shown as signs."""

_LIKE = str.maketrans(
    {
        **dict.fromkeys("─━═╌╍┄┅┈┉╴╶╸╺▁▔▂‾", "-"),
        **dict.fromkeys("│┃║╎╏┆┇┊┋╵╷╹╻▏▕▎▍▌▐", "|"),
        **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯╔╗╚╝╠╣╦╩╬┏┓┗┛┣┫┳┻╋", "+"),
        **dict.fromkeys("█▇▆▉▊▋▅▄▀▃", "#"),
        **dict.fromkeys("●•◉■◆", "*"),
        **dict.fromkeys("○◌◯□◇", "o"),
        **dict.fromkeys("·∙░", "."),
        **dict.fromkeys("✓✔", "v"),
        **dict.fromkeys("✗✘\u00d7", "x"),
        "…": "~",
        "\U0001f50e": "/ ",  # the magnifying glass of the palette, two cells wide
        "→": ">",
        "▶": ">",
        "▸": ">",
        "←": "<",
        "◀": "<",
        "▲": "^",
        "↑": "^",
        "△": "^",
        "▼": "v",
        "↓": "v",
        "▽": "v",
        "\u00a0": " ",
        "\u2013": "-",
        "\u2014": "-",
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
    }
)


class AsciiFilter(LineFilter):
    """Applied to every drawn line; keeps widths unchanged."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Draw a line in ASCII."""
        return [Segment(as_ascii(text), style, control) for text, style, control in segments]


def as_ascii(text: str) -> str:
    """Convert a text to ASCII of the same width; characters without a likeness become question marks."""
    if text.isascii():
        return text
    # As one run: characters combined into one sign are narrower than the sum of their widths.
    return _OTHERS.sub(lambda found: "?" * cell_len(found[0]), text.translate(_LIKE))


_OTHERS = re.compile(r"[^\x00-\x7f]+")
