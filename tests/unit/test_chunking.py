"""What chunks an article gives: where it is cut, and what stands above each chunk."""

from __future__ import annotations

from itertools import pairwise
from time import perf_counter

import pytest

from embedq_worker.content.chunking import Chunk, content_hash, count_words, embedding_input, split_markdown
from embedq_worker.content.reference_corpus import python_topics


def paths(text: str, *, size: int = 500) -> list[tuple[str, ...]]:
    return [chunk.heading_path for chunk in split_markdown(text, size=size, overlap=0)]


def texts(text: str, *, size: int = 500, overlap: int = 0) -> list[str]:
    return [chunk.text for chunk in split_markdown(text, size=size, overlap=overlap)]


def numbered(count: int, separator: str = " ") -> str:
    return separator.join(f"w{number}" for number in range(count))


# -- headings


def test_a_chunk_knows_the_headings_it_stands_under() -> None:
    text = "intro\n\n# A\n\na\n\n## B\n\nb\n\n### C\n\nc\n\n## D\n\nd\n\n# E\n\ne\n"
    assert paths(text) == [(), ("A",), ("A", "B"), ("A", "D"), ("E",)]


@pytest.mark.parametrize(
    "block",
    [
        "```\n# no\n```",
        "~~~\n# no\n~~~",
        "````\n```\n# no\n```\n# no\n````",
        "~~~\n```\n# no\n~~~",
        "```python title=x\n# no\n\n## no\n```",
        "```\n# no\n~~~\n# no\n```",
        "  ```\n  # no\n  ```",
        "    # no\n\n    ## no",
        "> # no\n> text",
        "- # no\n\n  # no",
        "> ```\n> # no\n> ```",
        "<div>\n# no\n</div>",
        "<!--\n# no\n\n# no\n-->",
        "<pre>\n# no\n\n# no\n</pre>",
        "#no",
        "####### no",
        "\\# no",
    ],
)
def test_what_only_looks_like_a_heading_is_none(block: str) -> None:
    text = f"# Top\n\n{block}\n\n## Below\n\nend\n"
    assert paths(text) == [("Top",), ("Top", "Below")]
    assert texts(text)[0] == f"# Top\n\n{block}"


def test_a_heading_ends_the_list_whose_fence_was_left_open() -> None:
    assert paths("1. item\n\n   ```\n# Yes\n\ntext\n") == [(), ("Yes",)]


@pytest.mark.parametrize("fence", ["```", "~~~", "````", "```python"])
def test_a_fence_that_is_never_closed_reaches_to_the_end(fence: str) -> None:
    text = f"# Top\n\n{fence}\n# no\n\n## no\n"
    assert paths(text) == [("Top",)]
    assert texts(text) == [text.strip()]


@pytest.mark.parametrize(
    ("markdown", "heading"),
    [
        ("# Plain", "Plain"),
        ("#\tTab", "Tab"),
        ("   # Indented", "Indented"),
        ("# Closed ##", "Closed"),
        ("Set\n===", "Set"),
        ("Two\nlines\n---", "Two lines"),
        ("# `code` and *stress* and [link](http://x)", "code and stress and link"),
        ("# A &amp; B \\* C", "A & B * C"),
        ("# <Button>", "<Button>"),
        ("# 数据库 🚀 ฐานข้อมูล", "数据库 🚀 ฐานข้อมูล"),
        ("# قاعدة", "قاعدة"),
        ("# a\x00b\x1b[2J&#0;\ud800", "a b [2J\ufffd\ufffd"),
        ("# " + "x" * 5_000, "x" * 200),
        ("# " + "`" * 5_000, "`" * 200),
    ],
)
def test_a_heading_becomes_one_line_of_plain_text(markdown: str, heading: str) -> None:
    assert paths(f"{markdown}\n\ntext") == [(heading,)]


def test_headings_that_follow_one_another_open_one_chunk() -> None:
    assert paths("# A\n## B\n### C\n\ntext\n") == [("A", "B", "C")]
    assert texts("# A\n## B\n### C\n") == ["# A\n## B\n### C"]
    assert paths("# A\n## B\n## D\n") == [("A", "D")]
    assert paths("#\n\ntext") == [()]


def test_small_sections_below_the_second_level_share_a_chunk() -> None:
    text = "## A\n\na\n\n### B\n\nb\n\n### C\n\nc\n\n## D\n\nd"
    assert paths(text) == [("A",), ("D",)]
    assert paths(text, size=4) == [("A",), ("A", "B"), ("A", "C"), ("D",)]


# -- what is left out, what is kept


@pytest.mark.parametrize("text", ["", " \n\t\r\n ", "\ufeff", "\x00", "\u2028\u3000", "---\ntitle: x\n---\n"])
def test_a_blank_article_gives_no_chunk(text: str) -> None:
    assert split_markdown(text, size=500, overlap=50) == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_make_no_difference(end: str) -> None:
    text = "---\ntitle: x\n---\n# A\n\n```\n# no\n```\n\n## B\n\nb  \nc\n"
    assert split_markdown(text.replace("\n", end), size=500, overlap=0) == split_markdown(
        text, size=500, overlap=0
    )


@pytest.mark.parametrize(
    "front_matter",
    [
        "---\ntitle: x\n---\n",
        "---\ntitle: x\ntags:\n  - a\n- b\n# comment\n'quoted key': 1\n...\n",
        "\ufeff---\ntitle: 'a: b'\n---\n",
        "---  \ndescription: |\n  long\n  text\n---  \n",
    ],
)
def test_front_matter_is_left_out(front_matter: str) -> None:
    assert texts(f"{front_matter}# A\n\nbody") == ["# A\n\nbody"]


@pytest.mark.parametrize(
    "text",
    ["---\n\ntext\n\n---\n\nmore", "---\nno yaml\n---\nmore", "a\n---\ntitle: x\n---\n", "---\ntitle: x\n"],
)
def test_text_between_rules_is_no_front_matter(text: str) -> None:
    assert "".join("".join(texts(text)).split()) == "".join(text.split())


def test_inner_white_space_survives() -> None:
    text = "| a | b |\n|---|---|\n| 1 |\t2 |\n\n- x\n    - y\n\n<b>\n  z</b>"
    assert texts(text) == [text]


def test_what_no_database_or_provider_takes_is_replaced() -> None:
    [chunk] = split_markdown("a\x00b\x1b[1m\ud800c\x85d", size=50, overlap=0)
    assert chunk.text == "a b [1m\ufffdc d"


# -- where a long section is cut


def test_a_long_section_is_cut_at_paragraphs_then_sentences_then_words() -> None:
    paragraphs = "\n\n".join(numbered(30) for _ in range(10))
    assert all(text.endswith("w29") for text in texts(paragraphs, size=100))
    sentences = " ".join(f"{numbered(9)} end." for _ in range(30))
    assert all(text.endswith("end.") for text in texts(sentences, size=64))
    assert [count_words(text) for text in texts(numbered(100), size=40)] == [40, 40, 20]
    chinese = "数据库保存文章的向量。" * 30
    assert all(text.endswith("。") for text in texts(chinese, size=64))


@pytest.mark.parametrize("words", range(6, 11))
def test_the_last_paragraph_that_ends_in_the_second_half_of_a_chunk_ends_it(words: int) -> None:
    text = f"{numbered(3)}\n\n{numbered(words - 3)}\n\nline\n{numbered(20)}"
    assert count_words(texts(text, size=10)[0]) == words


@pytest.mark.parametrize("words", range(1, 7))
def test_a_code_block_as_long_as_a_chunk_stays_whole_after_any_words(words: int) -> None:
    code = "```\na b\nc d\n```"
    first, second, *_ = texts(f"{numbered(words)}\n{code}\n{numbered(20)}", size=6)
    assert (count_words(first), second) == (words, code)


def test_a_code_block_that_fits_stays_whole() -> None:
    code = "```\n" + "\n\n".join(f"x{n} = {n}" for n in range(20)) + "\n```"
    text = "\n\n".join([numbered(70), code, numbered(70)])
    assert sum(code in chunk for chunk in texts(text, size=100)) == 1


def test_a_table_and_a_list_are_cut_between_lines() -> None:
    table = "| a | b |\n|---|---|\n" + "\n".join(f"| {n} | value of {n} |" for n in range(200))
    assert all(text.endswith("|") and text.startswith("|") for text in texts(table, size=50))
    items = "\n".join(f"- item number {n} of the list" for n in range(200))
    assert all(text.startswith("- item") for text in texts(items, size=50))


@pytest.mark.parametrize(
    ("size", "overlap"), [(10, 3), (10, 9), (50, 25), (500, 50), (2, 1), (10, 10), (3, 99)]
)
def test_the_overlap_repeats_that_many_words(size: int, overlap: int) -> None:
    chunks = [text.split() for text in texts(numbered(600), size=size, overlap=overlap)]
    repeated = min(overlap, size - 1)
    for one, following in pairwise(chunks):
        assert following[:repeated] == one[-repeated:]
        assert following[repeated] not in one
    words = [word for chunk in chunks for word in chunk]
    assert list(dict.fromkeys(words)) == numbered(600).split()


def test_nothing_is_repeated_across_a_heading() -> None:
    text = f"# A\n\n{numbered(50)}\n\n# B\n\nother"
    assert texts(text, size=100, overlap=20) == [f"# A\n\n{numbered(50)}", "# B\n\nother"]


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (-1, 0), (10, -1)])
def test_impossible_sizes_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="size"):
        split_markdown("a", size=size, overlap=overlap)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 1_000_000,
        "word " * 200_000,
        "# " + "x" * 1_000_000,
        "数" * 300_000,
        "ก" * 300_000,
        "🚀" * 300_000,
    ],
    ids=["word", "line", "heading", "chinese", "thai", "emoji"],
)
def test_text_without_a_place_to_cut_is_cut_all_the_same(text: str) -> None:
    chunks = split_markdown(text, size=500, overlap=50)
    assert len(chunks) > 10
    assert all(count_words(chunk.text) <= 500 and len(chunk.text) < 32 * 500 for chunk in chunks)


def test_five_megabytes_take_seconds() -> None:
    section = (
        "## Heading\n\n" + ("A line of prose with some words, a `name` and a [link](http://x).\n" * 8) + "\n"
    )
    text = section * (5_000_000 // len(section))
    began = perf_counter()
    chunks = split_markdown(text, size=500, overlap=50)
    assert len(chunks) > 1_000
    assert perf_counter() - began < 20  # 2 s on an idle machine


# -- the reference corpus


def test_the_reference_corpus_gives_sane_chunks() -> None:
    for draft in python_topics():
        chunks = split_markdown(draft.content, size=500, overlap=50)
        assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
        assert chunks
        for chunk in chunks:
            assert count_words(chunk.text) <= 500
            assert chunk.text in draft.content
            assert len(chunk.heading_path) >= 1
            assert embedding_input(draft.title, chunk).endswith(chunk.text)


# -- what is sent, and its hash


@pytest.mark.parametrize(
    ("title", "path", "context"),
    [
        ("Title", ("A", "B"), "Title > A > B\n\n"),
        ("title ", ("Title", "B"), "Title > B\n\n"),
        ("Title", (), "Title\n\n"),
        ("", ("A",), "A\n\n"),
        (" \n ", (), ""),
        ("a\x00\r\nb\x1b", (), "a b\n\n"),
        ("x" * 600, (), "x" * 500 + "\n\n"),
    ],
)
def test_what_is_sent_names_title_and_headings(title: str, path: tuple[str, ...], context: str) -> None:
    assert embedding_input(title, Chunk(0, path, "text")) == f"{context}text"


def test_the_hash_is_that_of_the_utf8_bytes() -> None:
    assert content_hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert len({content_hash(text) for text in ("", "a", "a ", "ä", "\ud800", "\ufffd")}) == 6
