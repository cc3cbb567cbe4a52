"""For terminals that show nothing but ASCII: every other character is drawn as one that is like it."""

from __future__ import annotations

import re

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_LIKE = str.maketrans(
    {
        **dict.fromkeys("─━═╌╍┄┅┈┉╴╶╸╺▁▔▂‾", "-"),
        **dict.fromkeys("│┃║╎╏┆┇┊┋╵╷╹╻▏▕▎▍▌▐", "|"),
        **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯╔╗╚╝╠╣╦╩╬┏┓┗┛┣┫┳┻╋", "+"),
        **dict.fromkeys("█▇▆▉▊▋▅▄▀▃", "#"),
        **dict.fromkeys("●•◉■◆", "*"),
        **dict.fromkeys("○◌◯□◇", "o"),
        **dict.fromkeys("·∙", "."),
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
    """Applied to every line that is drawn; widths stay what they are."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Draw a line in ASCII."""
        return [Segment(as_ascii(text), style, control) for text, style, control in segments]


def as_ascii(text: str) -> str:
    """A text of the same width in ASCII; what has no like is a question mark."""
    if text.isascii():
        return text
    # Together: of characters that are joined to one sign, the width is not the sum of theirs.
    return _OTHERS.sub(lambda found: "?" * cell_len(found[0]), text.translate(_LIKE))


_OTHERS = re.compile(r"[^\x00-\x7f]+")
