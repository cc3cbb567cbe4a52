"""Pictures of the screen: each word where it stood, whatever font a viewer has."""

from __future__ import annotations

import re
from html import unescape
from io import StringIO

import pytest
from rich.console import Console
from rich.text import Text

from embedq_tui.rendering.picture import settled

_SPAN = re.compile(r'<tspan x="([\d.]+)"[^>]*>([^<]*)</tspan>')


def _picture(text: str) -> str:
    console = Console(record=True, width=40, file=StringIO(), force_terminal=True)
    console.print(Text(text))
    return settled(console.export_svg())


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("a  bold claim", {"a": 0, "bold": 3, "claim": 8}),
        ("漢字 id", {"漢": 0, "字": 2, "id": 5}),
        ("│  ⣾ 3", {"│": 0, "⣾": 3, "3": 5}),
        ("<n> & 'x'", {"<n>": 0, "&": 4, "'x'": 6}),
    ],
)
def test_a_word_stands_in_the_cell_where_it_stood(text: str, places: dict[str, int]) -> None:
    found = {unescape(word): float(x) for x, word in _SPAN.findall(_picture(text))}
    assert found == {word: pytest.approx(cell * 12.2, abs=0.06) for word, cell in places.items()}


def test_a_picture_loads_nothing_from_elsewhere() -> None:
    picture = _picture("claim")
    assert re.findall(r"https?://[^\s\"]+", picture) == [
        "http://www.w3.org/2000/svg",
        "https://www.textualize.io",
    ]
