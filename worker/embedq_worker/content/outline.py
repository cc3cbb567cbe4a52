"""Find the headings and code blocks of a Markdown text.

A long text is parsed in parts, to bound the memory. A part ends where a block of the top level begins:
no block depends on what follows it, except that a paragraph has to be seen to its end.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.token import Token

MAX_HEADING = 200  # characters
MAX_NESTING = 40  # levels of quotes, two for each list; headings after a list nested deeper are not seen
PART = 200_000

_LINE_END = re.compile(r"\r\n?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_MARKUP = re.compile(r"[\\`*_\[\]<>&]")
_PARAGRAPH_ENDS = re.compile(r"\n(?=[ \t]*\n|#{1,6}[ \t\n])")
_CODE = ("fence", "code_block")
_GO_ON = "go_on"


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading outside lists and quotes: its offsets, its level, and its plain text."""

    start: int
    end: int
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Outline:
    """Headings, and where code blocks begin and end, in order."""

    headings: list[Heading]
    code: list[tuple[int, int]]


def outline(body: str, go_on: Callable[[], None], *, part: int = PART) -> Outline:
    """Find headings and code blocks.

    Args:
        body: Normalised text.
        go_on: Called every few lines, but not within code and HTML, which are fast; may raise to break off.
        part: Characters parsed at once; more if a single block is longer.
    """
    found = Outline([], [])
    start, length = 0, part
    while start < len(body):
        paragraph = _PARAGRAPH_ENDS.search(body, start + length)
        end = paragraph.end() if paragraph else len(body)
        following = _read(body, start, end, found, go_on)
        length = part if following > start else 2 * length
        start = following
    return found


def heading_text(markdown: str) -> str:
    """The plain text of a heading: one line without emphasis, links and tags.

    Args:
        markdown: The heading without its marks. Parsing is not linear in its length, so truncate it first.
    """
    if not _MARKUP.search(markdown):
        return collapsed(markdown)
    _, inline = _parsers()
    spans = inline.parseInline(markdown)[0].children or []
    plain = "".join(
        " " if span.type.endswith("break") else span.content for span in spans if span.type != "html_inline"
    )
    # The heading may consist only of what looks like a tag: `# <Button>`.
    return collapsed(plain) or collapsed(markdown)


def normalised(text: str) -> str:
    """The text with LF as line end, and without characters that databases or providers reject."""
    return _SURROGATE.sub("\ufffd", _CONTROL.sub(" ", _LINE_END.sub("\n", text)))


def collapsed(text: str) -> str:
    """The normalised text with white space collapsed."""
    return " ".join(normalised(text).split())


def _read(body: str, start: int, end: int, found: Outline, go_on: Callable[[], None]) -> int:
    """Add what is found in one part; return where the next begins.

    The part ends with a paragraph. Unless it ends the text, its last block may be incomplete, as a list that
    goes on after a blank line, and is left to the next part.
    """
    part = body[start:end]
    blocks, _ = _parsers()
    tokens = _Tokens()
    blocks.block.parse(part, blocks, {_GO_ON: go_on}, tokens)
    lines = [start, *(start + match.end() for match in re.finditer("\n", part)), end]
    following = end
    if end < len(body):
        following = lines[tokens.block.map[0]] if tokens.block and tokens.block.map else start
    for number, token in enumerate(tokens):
        if token.map is None or lines[token.map[0]] >= following:
            continue
        first, last = lines[token.map[0]], lines[token.map[1]]
        if token.type in _CODE:
            found.code.append((first, last))
        elif token.type == "heading_open":
            first += len(body[first:last]) - len(body[first:last].lstrip())
            text = heading_text(tokens[number + 1].content[: 4 * MAX_HEADING])[:MAX_HEADING].rstrip()
            found.headings.append(Heading(first, last, int(token.tag[1:]), text))
    return following


class _Tokens(list[Token]):
    """Of the parser's tokens, only those of headings at the top level and of code: few enough to keep.

    Attributes:
        block: First token of the last block at the top level.
    """

    def __init__(self) -> None:
        super().__init__()
        self.block: Token | None = None

    def append(self, token: Token) -> None:
        top = token.level == 0 and token.nesting >= 0
        if top:
            self.block = token
        in_heading = bool(self) and self[-1].type == "heading_open"
        if token.type in _CODE or in_heading or (top and token.type == "heading_open"):
            super().append(token)


@cache
def _parsers() -> tuple[MarkdownIt, MarkdownIt]:
    """Parsers for blocks and for headings; creating them takes longer than chunking a short article.

    The first parse compiles the rules, in which threads must not race; after that they are only read.
    """
    blocks = MarkdownIt("commonmark", {"maxNesting": MAX_NESTING})
    long = ["paragraph", "reference", "blockquote", "list"]
    blocks.block.ruler.before("table", _GO_ON, _ask, {"alt": long})
    inline = MarkdownIt("commonmark")
    blocks.parse("a", {_GO_ON: lambda: None})
    inline.parseInline("a")
    return blocks, inline


def _ask(state: StateBlock, _start: int, _end: int, _silent: bool) -> bool:
    """A rule that never applies; the parser tries it where a block begins, and where a long one may end."""
    state.env[_GO_ON]()
    return False
