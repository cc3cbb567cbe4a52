"""The articles of the demo: the language topics of Python's own `help()`.

About 80 real articles come with every interpreter, so the demo needs neither files nor network.
"""

from __future__ import annotations

import importlib
import re

from embedq_worker.content.chunking import MAX_TITLE
from embedq_worker.content.importing import ArticleDraft, slugify
from embedq_worker.errors import EmbedqError

FOLDER = "python/reference"

# Underlines of headings, from the highest level down, in Sphinx's text builder, which produced these texts.
_UNDERLINES = '*=-~"+'
_HEADING = re.compile(rf"^(?P<text>\S.*)\n(?P<line>([{re.escape(_UNDERLINES)}])\3+)$", re.MULTILINE)
_LOOKS_LIKE_HEADING = re.compile(r"^ {0,3}(?=#)", re.MULTILINE)


def python_topics() -> list[ArticleDraft]:
    """Turn the help topics of the running interpreter into articles, in the order of their keys.

    Keys with the same text (``else`` and ``if``) become one article. Their number depends on the version of
    Python: 79 keys in 3.11.

    Returns:
        Public drafts in the folder ``python/reference`` with slugs ``python-KEY``.

    Raises:
        EmbedqError: This interpreter was packaged without the help topics.
    """
    keys = {text: key for key, text in sorted(_load_topics().items())}
    return [_draft(key, text) for text, key in sorted(keys.items(), key=lambda item: item[1])]


def markdown_of(rest: str) -> str:
    """Turn the underlined headings of plain reStructuredText output into Markdown headings.

    Everything else stays, except that a line that starts with ``#`` (a comment in a code block, indented by
    three spaces there) is indented further so that Markdown does not take it for a heading.
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
            "this Python was packaged without its help topics (pydoc_data)",
            "import your own Markdown files instead: embedq-tui import PATH",
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
