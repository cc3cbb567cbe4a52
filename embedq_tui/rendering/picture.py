"""A screenshot that looks the same wherever it is opened."""

from __future__ import annotations

import re
from html import escape, unescape

from rich.cells import cell_len

_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_FAMILY = "font-family: Fira Code, monospace"
_RUN = re.compile(r'<text (class="[^"]+") x="([\d.]+)" (y="[^"]+") textLength="[^"]+" ([^>]*)>([^<]*)</text>')
_WORD = re.compile(r"[!-~]+|[^\s -~]")
"""A run drawn as one piece; any non-ASCII character stands alone: its font may have another width."""

_CELL = 12.2
"""Width of a cell as Rich draws it, in units of the picture."""


def settled(picture: str) -> str:
    """Give each word its own position, and load no fonts from the network.

    Rich draws each run of one style as a whole, with a font from a third-party server. In viewers that
    do not load it, or ignore `textLength`, everything after a blank is displaced.

    Args:
        picture: An SVG from `App.export_screenshot`.
    """
    family = _FAMILY.replace("Fira Code", "Fira Code, DejaVu Sans Mono")  # viewers take the first they have
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
