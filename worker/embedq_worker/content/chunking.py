"""Split Markdown into chunks along its headings, paragraphs and sentences.

The text is normalised, in chunks and in headings: a byte order mark and YAML front matter at the start are
removed; CRLF and CR become LF; control characters other than tab and line feed become spaces; lone surrogates
become U+FFFD. Nothing else is changed, so a chunk is a slice of the article, including the white space in it.

A *word* is what `count_words` counts: up to 16 characters between white space, one Chinese or Japanese
character with its punctuation, or up to 4 characters of a South-East Asian script written without spaces. A
chunk of n words therefore has fewer than 32 n characters, whatever the article contains.

Time and memory are proportional to the text: some 4 s a megabyte where every line is a heading or the item of
a list, 0.3 s where it is plain words. Run it in a thread if an event loop must stay responsive.
"""

from __future__ import annotations

import hashlib
import re
import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from embedq_worker.content.outline import Heading, collapsed, normalised, outline

MAX_TITLE = 500  # characters, as in the table
MERGED_BELOW = 2  # sections of headings deeper than this may share a chunk

# In scripts without spaces, a long run must not count as one word. Every alternative is bounded, even white
# space, so that the size in words bounds the size in characters.
_IDEOGRAPH = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3041-\u3096\u309d-\u30ff\u3105-\u312f\u31a0-\u31bf"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua48c\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_UNSPACED = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff"
_CLOSING = "、。，．：；！？）」』】》〉…"  # noqa: RUF001
_WORD = re.compile(
    rf"[{_IDEOGRAPH}][{_CLOSING}]{{0,3}}|[{_UNSPACED}]{{1,4}}|[^\s{_IDEOGRAPH}{_UNSPACED}]{{1,16}}|\s{{16}}"
)
_IDEOGRAPH_NEXT = re.compile(rf"[{_IDEOGRAPH}]")
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'’”»)\]」』）*_`]*\Z")  # noqa: RUF001

# Every line must look like YAML and none may be blank: text between two thematic breaks is not front matter.
_FRONT_MATTER = re.compile(r"---[ \t]*\n(?=[\w\"'])")
_FRONT_MATTER_LINE = re.compile(r"[\w\"'][^\n:]*:(?:[ \t][^\n]*)?\n|[ \t#][^\n]*\n|-[ \t][^\n]*\n")
_FRONT_MATTER_END = re.compile(r"(?:---|\.\.\.)[ \t]*(?:\n|\Z)")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of an article that gets one vector.

    Attributes:
        index: 0, 1, 2, ... without gaps.
        heading_path: Headings above the text, outermost first: plain text, one line, at most 200 characters
            each. If several small sections share the chunk, the headings they have in common.
        text: Slice of the normalised article, without white space at its ends.
    """

    index: int
    heading_path: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class _Section:
    """Text from one heading to the next; `level` is that of its highest heading, 7 without one."""

    start: int
    end: int
    level: int
    path: tuple[str, ...]
    words: int


def split_markdown(
    text: str, *, size: int, overlap: int, go_on: Callable[[], None] = lambda: None
) -> list[Chunk]:
    """Split an article into chunks.

    A section extends from one heading to the next; consecutive headings without text in between open one
    section, so that no heading stands alone. Headings inside lists, quotes, code and HTML do not count. Small
    neighbouring sections share a chunk, but not across a heading of level 1 or 2. A section of more than
    `size` words is cut in the second half of the chunk: at the last end of a paragraph or, without one, of a
    sentence or line, or else between words. A code block that fits into one chunk stays whole.

    Args:
        text: Markdown; anything is accepted.
        size: Maximum words per chunk, see `count_words`.
        overlap: Words at the end of a chunk that are repeated at the start of the next one in the same
            section; reduced to `size` - 1 if larger.
        go_on: Called every few lines; may raise to break off.

    Returns:
        Chunks in the order of the article; none if it is blank. Without overlap they contain its whole text,
        every character once.

    Raises:
        ValueError: `size` is below 1, or `overlap` below 0.
    """
    if size < 1 or overlap < 0:
        raise ValueError("size must be at least 1 and overlap at least 0")
    overlap = min(overlap, size - 1)
    body = _body(text)
    found = outline(body, go_on)
    chunks: list[Chunk] = []
    for section in _merged(_sections(body, found.headings), size):
        for piece in _pieces(body, section, found.code, size, overlap):
            go_on()
            chunks.append(Chunk(len(chunks), section.path, piece))
    return chunks


def count_words(text: str, start: int = 0, end: int = sys.maxsize) -> int:
    """Count words as for the size of chunks; the module describes what a word is.

    White space counts as one word per 16 consecutive characters, shorter runs not at all.
    """
    # Not findall: on a text of megabytes it would keep every other thread waiting for seconds.
    return sum(1 for _ in _WORD.finditer(text, start, end))


def embedding_input(title: str, chunk: Chunk) -> str:
    """The text sent to the provider for a chunk: title and headings on one line, then the chunk.

    Args:
        title: Title of the article; left out if the outermost heading repeats it.
        chunk: A chunk of that article.
    """
    name = collapsed(title)[:MAX_TITLE]
    headings = chunk.heading_path
    repeated = headings and headings[0].casefold() == name.casefold()
    context = " > ".join(headings if repeated or not name else (name, *headings))
    return f"{context}\n\n{chunk.text}" if context else chunk.text


def content_hash(embedding_input: str) -> str:
    """SHA-256 of the text sent, 64 hexadecimal digits; the same hash and model give the same vector."""
    return hashlib.sha256(embedding_input.encode("utf-8", "surrogatepass")).hexdigest()


def _body(text: str) -> str:
    body = normalised(text.removeprefix("\ufeff"))
    line = _FRONT_MATTER.match(body)
    while line and (following := _FRONT_MATTER_LINE.match(body, line.end())):
        line = following
    end = line and _FRONT_MATTER_END.match(body, line.end())
    return body[end.end() :] if end else body


def _sections(body: str, headings: Iterable[Heading]) -> Iterator[_Section]:
    above: list[Heading] = []
    start = content = len(body) - len(body.lstrip())
    level, path = 7, tuple[str, ...]()
    for heading in headings:
        if body[content : heading.start].strip():
            yield _section(body, start, heading.start, level, path)
            start, level = heading.start, heading.level
        level = min(level, heading.level)
        content = heading.end
        above = [*(outer for outer in above if outer.level < heading.level), heading]
        path = tuple(outer.text for outer in above if outer.text)
    if start < len(body):
        yield _section(body, start, len(body), level, path)


def _section(body: str, start: int, end: int, level: int, path: tuple[str, ...]) -> _Section:
    return _Section(start, end, level, path, words=count_words(body, start, end))


def _merged(sections: Iterable[_Section], size: int) -> Iterator[_Section]:
    group: _Section | None = None
    for section in sections:
        if group and section.level > MERGED_BELOW and group.words + section.words <= size:
            path = _common(group.path, section.path)
            group = replace(group, end=section.end, path=path, words=group.words + section.words)
            continue
        if group:
            yield group
        group = section
    if group:
        yield group


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return tuple(heading for heading, _ in pairs)


def _pieces(
    body: str, section: _Section, code: Sequence[tuple[int, int]], size: int, overlap: int
) -> Iterator[str]:
    if section.words <= size:
        yield body[section.start : section.end].strip()
        return
    words = _Words(body, section, code, whole=size - overlap)
    first = 0
    while True:
        cut = words.cut(first, size, overlap)
        if piece := words.text(first, cut):
            yield piece
        if cut == len(words.starts):
            return
        first = cut - overlap


class _Words:
    """The words of a section that needs more than one chunk.

    Args:
        body: The article.
        section: Part of it.
        code: Offsets of the article's code blocks, in order.
        whole: Words of the longest code block that is kept whole.
    """

    def __init__(self, body: str, section: _Section, code: Sequence[tuple[int, int]], *, whole: int) -> None:
        self._body = body
        self.starts, self._ends = array("q"), array("q")
        for match in _WORD.finditer(body, section.start, section.end):
            self.starts.append(match.start())
            self._ends.append(match.end())
        self._inside_code = bytearray(len(self.starts) + 1)
        within = slice(bisect_left(code, (section.start, 0)), bisect_left(code, (section.end, 0)))
        for start, end in code[within]:
            first, last = bisect_left(self.starts, start), bisect_left(self.starts, end)
            if last - first <= whole:
                self._inside_code[first + 1 : last] = b"\1" * (last - first - 1)

    def text(self, first: int, cut: int) -> str:
        """The text of words `first` to `cut` - 1."""
        return self._body[self.starts[first] : self._ends[cut - 1]].strip()

    def cut(self, first: int, size: int, overlap: int) -> int:
        """Where a chunk that begins with word `first` ends: the index of the first word after it.

        It has more than `overlap` words, so that the next chunk, which repeats that many, makes progress.
        """
        latest = first + size
        if latest >= len(self.starts):
            return len(self.starts)
        earliest = first + max(size // 2, overlap) + 1
        candidates = [cut for cut in range(latest, earliest - 1, -1) if not self._inside_code[cut]]
        if candidates:
            return max(candidates, key=self._rank)
        # A code block begins before the middle and ends after the chunk, so it goes into the next one. It is
        # no longer than size - overlap and therefore cannot cover all remaining cuts.
        return next(cut for cut in range(earliest - 1, first + overlap, -1) if not self._inside_code[cut])

    def _rank(self, cut: int) -> int:
        """What ends before this word: a paragraph (3), a sentence or line (2), a word (1) or nothing (0)."""
        end, start = self._ends[cut - 1], self.starts[cut]
        breaks = self._body.count("\n", end, start)
        if breaks:
            return 3 if breaks > 1 else 2
        if start == end and not _IDEOGRAPH_NEXT.match(self._body, start):
            return 0
        return 2 if _SENTENCE_END.search(self._body, max(0, end - 8), end) else 1
