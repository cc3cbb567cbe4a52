"""A picture of the screen that looks the same wherever it is opened."""

from __future__ import annotations

import re
from html import escape, unescape

from rich.cells import cell_len

_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_FAMILY = "font-family: Fira Code, monospace"
_RUN = re.compile(r'<text (class="[^"]+") x="([\d.]+)" (y="[^"]+") textLength="[^"]+" ([^>]*)>([^<]*)</text>')
_WORD = re.compile(r"[!-~]+|[^\s -~]")
"""What is drawn together. Anything but ASCII may come from another font, with a width of its own."""

_CELL = 12.2
"""Width of a cell as Rich draws it, in units of the picture."""


def settled(picture: str) -> str:
    """Give each word its own place, and load nothing from elsewhere.

    Rich draws a run of one style at once and relies on its font, from a server of others. Viewers that do
    not load it, or do not stretch a text to its length, move whatever follows a blank.

    Args:
        picture: An SVG, as `App.export_screenshot` makes it.
    """
    family = _FAMILY.replace("Fira Code", "Fira Code, DejaVu Sans Mono")  # the first that is there
    return _RUN.sub(_words, _FONTS.sub("", picture).replace(_FAMILY, family))


def _words(run: re.Match[str]) -> str:
    style, x, y, clip, escaped = run.groups()
    text = unescape(escaped)
    words = "".join(
        _word(found[0], float(x) + cell_len(text[: found.start()]) * _CELL) for found in _WORD.finditer(text)
    )
    return f"<text {style} {y} {clip}>{words}</text>" if words else ""


def _word(word: str, x: float) -> str:
    length = f' textLength="{cell_len(word) * _CELL:.1f}"' if len(word) > 1 else ""
    return f'<tspan x="{x:.1f}"{length}>{escape(word, quote=False)}</tspan>'
