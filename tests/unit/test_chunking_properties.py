"""What holds for the chunks of any text whatever."""

from __future__ import annotations

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from embedq_worker.content.chunking import count_words, embedding_input, split_markdown

PIECES = st.sampled_from(
    [
        "# A\n",
        "## B ##\n",
        "### C\n",
        "Set\n===\n",
        "sub\n---\n",
        "```\n",
        "~~~\n",
        "````\n",
        "    code\n",
        "\tcode\n",
        "> quote\n",
        "> # q\n",
        "- item\n",
        "  - inner\n",
        "1. one\n",
        "| a | b |\n|---|---|\n",
        "<div>\n",
        "<!--\n",
        "-->\n",
        "---\n",
        "key: value\n",
        "[ref]: http://x\n",
        "\n",
        "\n\n\n",
        "\r\n",
        "\r",
        " " * 20,
        "\x00",
        "\ud800",
        "\u2028",
        "\ufeff",
        "word ",
        "sentence. ",
        "数据库。",
        "ฐานข้อมูล",
        "قاعدة بيانات",
        "👩‍🚀🚀",
        "x" * 40,
        "``",
        "*",
        "\\",
        "&amp;",
    ]
)
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=20)), max_size=30).map("".join)
SIZES = st.integers(1, 40)
IGNORED = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")


def essence(text: str) -> str:
    """The characters of a text that chunks must hold."""
    return re.sub("[\ud800-\udfff]", "\ufffd", IGNORED.sub("", text))


def has_front_matter(text: str) -> bool:
    return text.removeprefix("\ufeff").startswith("---")


@settings(max_examples=200)
@given(text=TEXTS, size=SIZES)
@example(text="\n" * 40 + "a" + " " * 100 + "b", size=1)
def test_without_overlap_every_character_is_in_exactly_one_chunk(text: str, size: int) -> None:
    if has_front_matter(text):
        text = f"x{text}"
    chunks = split_markdown(text, size=size, overlap=0)
    assert essence("".join(chunk.text for chunk in chunks)) == essence(text.removeprefix("\ufeff"))


@settings(max_examples=200)
@given(text=TEXTS, size=SIZES, overlap=st.integers(0, 50), title=st.text(max_size=10))
def test_chunks_are_fit_to_be_stored_and_sent(text: str, size: int, overlap: int, title: str) -> None:
    chunks = split_markdown(text, size=size, overlap=overlap)
    assert chunks == split_markdown(text, size=size, overlap=overlap)
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    for chunk in chunks:
        assert chunk.text == chunk.text.strip() != ""
        assert count_words(chunk.text) <= size
        assert len(chunk.text) < 32 * size
        sent = embedding_input(title, chunk)
        for stored in (chunk.text, sent, *chunk.heading_path):
            assert stored.strip()
            assert stored.encode("utf-8")
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", stored)
        assert all(len(heading) <= 200 and "\n" not in heading for heading in chunk.heading_path)


@settings(max_examples=100)
@given(
    breaks=st.lists(st.sampled_from([" ", "\n", "\n\n", ". ", "\n```\n"]), min_size=1, max_size=120),
    size=SIZES,
    overlap=st.integers(0, 45),
)
def test_the_next_chunk_repeats_the_overlap_and_goes_on(breaks: list[str], size: int, overlap: int) -> None:
    text = "".join(f"w{number}{space}" for number, space in enumerate(breaks))
    chunks = [re.findall(r"w\d+", chunk.text) for chunk in split_markdown(text, size=size, overlap=overlap)]
    last = -1
    for words in chunks:
        numbers = [int(word[1:]) for word in words]
        if not numbers:  # nothing but the marks of a code block
            continue
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert last + 1 - min(overlap, size - 1) <= numbers[0] <= last + 1
        last = max(last, numbers[-1])
    assert last == len(breaks) - 1


@settings(max_examples=100)
@given(body=TEXTS, fence=st.sampled_from(["```", "~~~", "`````", "~~~~~"]))
def test_nothing_inside_a_fence_is_a_heading(body: str, fence: str) -> None:
    inner = re.sub(r"[`~]{3,}", "", body)
    text = f"# Top\n\n{fence}\n{inner}\n{fence}\n\n# End\n\nend"
    assert {chunk.heading_path for chunk in split_markdown(text, size=50, overlap=5)} == {("Top",), ("End",)}


@settings(max_examples=100)
@given(text=TEXTS, more=TEXTS)
def test_words_are_counted_alike_in_parts(text: str, more: str) -> None:
    assert count_words(f"{text}\n{more}") <= count_words(text) + count_words(more) + 2
