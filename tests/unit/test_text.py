"""Text of others, made fit for a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedq_worker.text import printable, printable_line

BIDI = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}


def is_harmless(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cs") and (
        unicodedata.bidirectional(character) not in BIDI
    )


@given(st.text(st.characters(codec=None)))
def test_nothing_commands_the_terminal(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert all(is_harmless(character) or character in "\n\t" for character in shown)
    assert all(a == b for a, b in zip(text, shown, strict=True) if a.isalnum() or a in "\n\t ")


@given(st.text(st.characters(codec=None)), st.integers(1, 30))
def test_one_line_of_a_width(text: str, width: int) -> None:
    line = printable_line(text, width)
    assert len(line) <= width
    assert len(line.splitlines()) <= 1
    assert "\t" not in line
    assert line == printable(line)


def test_no_command_there_is_gets_through() -> None:
    commands = "".join(filter(lambda character: not is_harmless(character), map(chr, range(0x10000))))
    assert set(printable(commands)) == {"\n", "\t", "\ufffd"}


@pytest.mark.parametrize(
    "text", ["plain", "Überschrift", "日本語", "שלום", "emoji 👩‍💻", "\u0645\u06cc\u200c\u062e", "a\tb\nc"]
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "a\u200bb",
        "\ufeffslug",
        "so\u00adft",
        "zero\u200dwidth",
        "x\u200c",
        "a\u2060b",
        "x\u061c1",
        "a\u200f!",
    ],
)
def test_what_cannot_be_seen_is_shown_instead_of_hiding_in_a_slug(text: str) -> None:
    assert "\ufffd" in printable(text)


def test_no_joiner_is_left_without_what_it_joins() -> None:
    assert printable_line("\U0001f469\u200d\U0001f4bb and more", 3) == "\U0001f469…"


@pytest.mark.parametrize("text", ["\x1b[31mred", "\x9b31m", "\x1b]52;c;aGk=\x07", "\u202etxt", "\x7f", "\r"])
def test_what_is_replaced_is_seen(text: str) -> None:
    assert "\ufffd" in printable(text)
