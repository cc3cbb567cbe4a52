"""What a terminal that shows ASCII alone is given is as wide as what it stands for."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from embedq_tui.console.ascii_filter import as_ascii


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "│ ● … ─ │",
        "嵌入-記事",
        "\U0001f50e palette",
        "\U0001f469\u200d\U0001f4bb-emoji-\U0001f680-9",
        "e\u0301 \u202e",
        "\ufffd",
    ],
)
def test_it_is_as_wide(text: str) -> None:
    drawn = as_ascii(text)
    assert drawn.isascii()
    assert len(drawn) == cell_len(text)
