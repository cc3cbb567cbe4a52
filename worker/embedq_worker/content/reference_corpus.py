"""The reference corpus of the demo: what Python's own `help()` knows about the language.

Some 80 real articles that every interpreter carries, so that a demo needs neither files nor a network.
"""

from __future__ import annotations

import importlib
import re

from embedq_worker.content.importing import MAX_TITLE, ArticleDraft, slugify
from embedq_worker.errors import EmbedqError

FOLDER = "python/reference"

# As Sphinx' text builder, which wrote these texts, takes them for deeper and deeper headings.
_UNDERLINES = '*=-~"+'
_HEADING = re.compile(rf"^(?P<text>\S.*)\n(?P<line>([{re.escape(_UNDERLINES)}])\3+)$", re.MULTILINE)
_LOOKS_LIKE_HEADING = re.compile(r"^ {0,3}(?=#)", re.MULTILINE)


def python_topics() -> list[ArticleDraft]:
    """Turn the help topics of the running interpreter into articles, in the order of their keys.

    Two keys with one text (``else`` and ``if``) give one article. How many there are depends on the version
    of Python: 79 keys in 3.11.

    Returns:
        Public drafts in the folder ``python/reference`` with slugs ``python-KEY``.

    Raises:
        EmbedqError: This interpreter was packaged without its help texts.
    """
    keys = {text: key for key, text in sorted(_load_topics().items())}
    return [_draft(key, text) for text, key in sorted(keys.items(), key=lambda item: item[1])]


def markdown_of(rest: str) -> str:
    """Turn the underlined headings of plain reStructuredText output into Markdown headings.

    Everything else stays, except that a line that starts with ``#`` (a comment in a code block, which is
    indented by three spaces there) is moved to the right so that Markdown does not take it for a heading.
    """
    return _HEADING.sub(_heading, _LOOKS_LIKE_HEADING.sub("    ", rest))


def _heading(match: re.Match[str]) -> str:
    text, line = match["text"], match["line"]
    if len(text.rstrip()) != len(line):  # a table, or a rule
        return match[0]
    return f"{'#' * (_UNDERLINES.index(line[0]) + 1)} {text.rstrip()}"


def _load_topics() -> dict[str, str]:
    try:
        module = importlib.import_module("pydoc_data.topics")
    except ImportError:
        raise EmbedqError(
            "this Python was packaged without its help texts (pydoc_data)",
            "import Markdown of your own instead: embedq-tui import PATH",
        ) from None
    return {str(key): str(text).strip() for key, text in module.topics.items()}


def _draft(key: str, text: str) -> ArticleDraft:
    first = _HEADING.search(text)
    return ArticleDraft(
        slug=f"python-{slugify(key)}",
        title=(first["text"].strip() if first else key)[:MAX_TITLE],
        content=markdown_of(text) + "\n",
        folder=FOLDER,
        is_public=True,
        no_rag=False,
        source=f"help('{key}')",
    )
