"""Joins pictures of the console into one that moves: plain SVG and CSS, played wherever pictures are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_OUTER = re.compile(r"<svg[^>]*viewBox=\"([^\"]+)\"[^>]*>(.*)</svg>\s*$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture.

    Attributes:
        picture: An SVG, as `App.export_screenshot` makes it; its names of classes are its own.
        seconds: So long is it shown.
    """

    picture: str
    seconds: float


def film(frames: Sequence[Frame]) -> str:
    """One SVG that shows the frames in turn, for ever; the first alone where motion is not wanted.

    Args:
        frames: At least one; all of one size.
    """
    whole = sum(frame.seconds for frame in frames)
    rules, pictures, begin, box = [], [], 0.0, ""
    for number, frame in enumerate(frames):
        outer = _OUTER.search(frame.picture)
        assert outer is not None
        box, content = outer.groups()
        end = begin + frame.seconds
        rules.append(_rule(number, begin / whole * 100, end / whole * 100, whole))
        pictures.append(f'<g class="frame f{number}">{content}</g>')
        begin = end
    style = "\n".join(
        [
            ".frame { visibility: hidden }",
            ".f0 { visibility: visible }",
            "@media (prefers-reduced-motion: no-preference) {",
            *rules,
            "}",
        ]
    )
    return (
        f'<svg viewBox="{box}" xmlns="http://www.w3.org/2000/svg"><style>{style}</style>'
        + "\n".join(pictures)
        + "</svg>\n"
    )


def _rule(number: int, begin: float, end: float, whole_s: float) -> str:
    """When a frame is seen, in percent of the whole."""
    seen, unseen = "visibility: visible", "visibility: hidden"
    steps = [(0.0, unseen), (begin, seen), (end, unseen)] if begin else [(0.0, seen), (end, unseen)]
    keys = " ".join(f"{at:.3f}% {{ {what} }}" for at, what in steps if at < 99.999)
    return (
        f"@keyframes f{number} {{ {keys} }} "
        f".f{number} {{ animation: f{number} {whole_s:.1f}s step-end infinite }}"
    )
