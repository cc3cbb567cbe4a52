"""Read Markdown files and folders into article drafts; no database involved.

Slugs are flat: `guide/Install.md` becomes `guide-install`, because a slug is one segment of a URL and the
stem of chunk ids. Letters of all scripts are kept, Latin accents are dropped (`é` becomes `e`).
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path, PurePath
from typing import TypeAlias

import yaml
from frontmatter.default_handlers import YAMLHandler
from markdown_it import MarkdownIt

from embedq_worker.content.chunking import MAX_TITLE
from embedq_worker.content.outline import heading_text
from embedq_worker.errors import UsageError

MARKDOWN_SUFFIXES = frozenset({".md", ".markdown", ".mdown"})
LEFT_OUT_FOLDERS = frozenset({"node_modules"})
MAX_FILE_BYTES = 10 * 1024 * 1024
MAX_FRONT_MATTER = 64 * 1024  # characters
MAX_FOLDER = 500
MAX_SLUG = 255
# Leaves room for '.md#99999999': other programs write slug and index into a chunk id of 255 characters.
MAX_DERIVED_SLUG = 240
# Titles are at the top; parsing all of a large file for one would be a waste.
TITLE_SEARCHED = 64 * 1024  # characters

# Most files begin with a heading without markup or have none at all; parsing takes many times longer.
_PLAIN_FIRST_HEADING = re.compile(
    r"(?:[ \t]*\r?\n)* {0,3}#[ \t]+(?P<text>[^\n\r#`*_\[\]<>&!\\~]+)(?:\r?\n|\Z)"
)
_MAYBE_HEADING = re.compile(r"(?:^|\r) {0,3}(?:#(?:[ \t\r]|$)|=)", re.MULTILINE)

RootedFile: TypeAlias = tuple[Path, Path]
"""The root to which a file's slug and folder are relative, and the file."""


@dataclass(frozen=True, slots=True)
class ArticleDraft:
    """An article as read, not yet stored. None means not stated: an existing article keeps its value.

    Attributes:
        slug: Unique within one run, at most 255 characters.
        title: One line, 1 to 500 characters.
        content: Markdown without front matter and NUL characters; line ends as in the file.
        folder: Parts joined by ``/``, at most 500 characters, empty at the top.
        is_public: Readers without an account may see it.
        no_rag: It is excluded from embedding.
        source: Where it came from, for messages.
    """

    slug: str
    title: str
    content: str
    folder: str | None
    is_public: bool | None
    no_rag: bool | None
    source: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that could not be read, and why, in one line."""

    source: str
    reason: str


class _UnusableError(Exception):
    """Why a file cannot be imported."""


def read_articles(paths: Sequence[Path]) -> Iterator[ArticleDraft | Skipped]:
    """Read Markdown files, and folders of them, one file at a time.

    Front matter is optional YAML: ``title``, ``slug``, ``folder``, ``public`` or ``is_public``, ``draft``,
    ``no_rag``; other keys are ignored. ``draft: true`` always makes an article private; ``draft: false``
    makes it public unless another key says otherwise. If the front matter does not state a folder, it is the
    file's folder relative to the given path; for files directly in that path, none is stated.

    Args:
        paths: Files with any suffix, and folders, searched as by `find_markdown`.

    Returns:
        One draft or one `Skipped` per file, plus one `Skipped` per folder that cannot be listed.

    Raises:
        UsageError: One of the paths does not exist; raised immediately, before anything is read.
    """
    files, unlisted = _scan(paths)
    return _read_all(files, unlisted)


def find_markdown(paths: Sequence[Path]) -> list[RootedFile]:
    """Find Markdown files below folders, in a stable order.

    Hidden files and folders and ``node_modules`` are skipped. Links to files are followed. Links to folders
    are not, because they may be circular or lead out of the given folder; pass their target instead.

    Args:
        paths: Files with any suffix, and folders, searched recursively.

    Returns:
        Root and file, each file once; the root of a file in `paths` is its folder.

    Raises:
        UsageError: One of the paths does not exist.
    """
    return _scan(paths)[0]


def folder_of(text: str) -> str:
    """Normalise a folder as stored with articles: parts joined by ``/``, without ``..``; empty at the top."""
    parts = (_one_line(part) for part in text.split("/"))
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def slugify(text: str) -> str:
    """Turn text into a flat slug of lower-case letters, digits and single hyphens.

    Returns:
        At most 240 characters; longer slugs are truncated and end in a hash of the whole. Empty if the text
        has neither letters nor digits.
    """
    # Twice: decomposition can produce capitals, and case folding can produce accents.
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    # Only Latin, Greek and Cyrillic accents; in other scripts, marks are part of the word.
    bare = "".join(char for char in decomposed if not "\u0300" <= char <= "\u036f")
    kept = [
        char if unicodedata.category(char)[0] in "LNM" else "-" for char in unicodedata.normalize("NFC", bare)
    ]
    slug = re.sub("-{2,}", "-", "".join(kept)).strip("-")
    if len(slug) <= MAX_DERIVED_SLUG:
        return slug
    return f"{slug[: MAX_DERIVED_SLUG - 9].rstrip('-')}-{_short_hash(slug)}"


def _scan(paths: Sequence[Path]) -> tuple[list[RootedFile], list[Skipped]]:
    found: dict[str, RootedFile] = {}
    unlisted: list[Skipped] = []
    for path in paths:
        if not os.path.exists(path):
            raise UsageError(f"{_shown(path)}: no such file or folder, or no permission to see it")
        inside = _walk(path, unlisted) if path.is_dir() else [(path.parent, path)]
        for root, file in inside:
            found.setdefault(os.path.abspath(file), (root, file))
    return list(found.values()), unlisted


def _walk(root: Path, unlisted: list[Skipped]) -> list[RootedFile]:
    def note(error: OSError) -> None:
        unlisted.append(Skipped(_shown(error.filename), _reason(error)))

    files: list[Path] = []
    for parent, folders, names in os.walk(root, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in LEFT_OUT_FOLDERS]
        files += [Path(parent, name) for name in names if _is_markdown(name)]
    return [(root, file) for file in sorted(files, key=lambda file: file.parts)]


def _is_markdown(name: str) -> bool:
    return not name.startswith(".") and PurePath(name).suffix.lower() in MARKDOWN_SUFFIXES


def _read_all(files: list[RootedFile], unlisted: list[Skipped]) -> Iterator[ArticleDraft | Skipped]:
    yield from unlisted
    taken: dict[str, str] = {}
    for root, file in files:
        try:
            draft = _read(root, file)
        except _UnusableError as problem:
            yield Skipped(_shown(file), str(problem))
            continue
        if draft.slug in taken:
            yield Skipped(draft.source, f"slug '{draft.slug}' is already used by {taken[draft.slug]}")
            continue
        taken[draft.slug] = draft.source
        yield draft


def _read(root: Path, file: Path) -> ArticleDraft:
    meta, content = _split_front_matter(_read_text(file))
    relative = file.relative_to(root)
    title = _text(meta, "title") or _first_heading(content) or _title_of_name(relative.stem)
    return ArticleDraft(
        slug=_slug(_text(meta, "slug"), relative),
        title=title if len(title) <= MAX_TITLE else f"{title[: MAX_TITLE - 1]}…",
        content=content,
        folder=_folder(_text(meta, "folder"), relative),
        is_public=_is_public(meta),
        no_rag=_flag(meta, "no_rag"),
        source=_shown(file),
    )


def _read_text(file: Path) -> str:
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise _UnusableError("not a regular file")
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _UnusableError(_reason(error)) from None
    if len(data) > MAX_FILE_BYTES:
        raise _UnusableError(f"larger than {MAX_FILE_BYTES // 1024 // 1024} MiB")
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        raise _UnusableError("not UTF-8") from None
    return text.replace("\0", "")  # PostgreSQL does not allow NUL in text


def _split_front_matter(text: str) -> tuple[Mapping[str, object], str]:
    handler = YAMLHandler()
    if not handler.detect(text):
        return {}, text
    try:
        header, content = handler.split(text)
    except ValueError:  # the front matter is not closed
        return {}, text
    if len(header) > MAX_FRONT_MATTER:
        raise _UnusableError(f"front matter larger than {MAX_FRONT_MATTER // 1024} KiB")
    meta = _load_yaml(handler, header)
    if not isinstance(meta, dict):
        return ({}, content.lstrip("\r\n")) if not header.strip() else ({}, text)
    return {str(key).lower(): value for key, value in meta.items()}, content.lstrip("\r\n")


def _load_yaml(handler: YAMLHandler, header: str) -> object:
    # BaseLoader builds only text, lists and mappings: a title of 1.10 stays 1.10, and tags are ignored. The C
    # loaders, which python-frontmatter uses, overflow the C stack on deep nesting and crash the process.
    try:
        return handler.load(header, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise _UnusableError(
            f"front matter is not valid YAML: {error.problem or error.context}{line}"
        ) from None
    except (yaml.YAMLError, ValueError, OverflowError):
        raise _UnusableError("front matter is not valid YAML") from None
    except RecursionError:
        raise _UnusableError("front matter is nested too deeply") from None


def _text(meta: Mapping[str, object], key: str) -> str | None:
    """The value as one line without control characters; None if there is none."""
    value = meta.get(key)
    if value is None or value in ("", "~", "null", "Null", "NULL"):
        return None
    if not isinstance(value, str):
        raise _UnusableError(f"front matter: {key} must be text")
    return _one_line(value)


def _flag(meta: Mapping[str, object], key: str) -> bool | None:
    value = _text(meta, key)
    if value is None:
        return None
    if value.lower() in ("true", "yes", "on", "y", "1"):
        return True
    if value.lower() in ("false", "no", "off", "n", "0"):
        return False
    raise _UnusableError(f"front matter: {key} must be true or false")


def _is_public(meta: Mapping[str, object]) -> bool | None:
    draft, public, is_public = (_flag(meta, key) for key in ("draft", "public", "is_public"))
    published = None if draft is None else not draft
    if published is False:
        return False
    return next((flag for flag in (is_public, public, published) if flag is not None), None)


def _slug(stated: str | None, relative: Path) -> str:
    if stated and re.fullmatch(rf"[\w.~-]{{1,{MAX_SLUG}}}", stated):
        return stated  # not changed, because it may be the slug of an existing article
    path = str(relative.with_suffix(""))
    return slugify(stated or path) or slugify(path) or f"article-{_short_hash(path)}"


def _folder(stated: str | None, relative: Path) -> str | None:
    if stated is None and relative.parent == Path():
        return None
    folder = folder_of(stated if stated is not None else relative.parent.as_posix())
    if len(folder) > MAX_FOLDER:
        raise _UnusableError(f"folder name longer than {MAX_FOLDER} characters")
    return folder


def _first_heading(content: str) -> str | None:
    """Text of the first heading of level 1 outside lists, quotes, code and HTML blocks."""
    if plain := _PLAIN_FIRST_HEADING.match(content):
        return _one_line(plain["text"]) or None
    if not _MAYBE_HEADING.search(content, 0, TITLE_SEARCHED):
        return None
    for token, inline in pairwise(_blocks().parse(content[:TITLE_SEARCHED])):
        if token.type == "heading_open" and token.tag == "h1" and token.level == 0:
            return heading_text(inline.content[: 4 * MAX_TITLE]) or None
    return None


@cache
def _blocks() -> MarkdownIt:
    """The parser, cached: creating it takes longer than parsing the top of a file."""
    return MarkdownIt("commonmark").disable("inline")


def _title_of_name(stem: str) -> str:
    words = _one_line(re.sub(r"[-_]+", " ", stem)) or _one_line(stem) or "Untitled"
    return words[0].upper() + words[1:]


def _one_line(text: str) -> str:
    """Collapse white space; drop control characters and lone surrogates."""
    return "".join(
        char for char in " ".join(text.split()) if unicodedata.category(char) not in ("Cc", "Cs")
    ).strip()


def _shown(path: str | os.PathLike[str]) -> str:
    """A path as text that can be printed and stored; file names need not be valid UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def _reason(error: OSError) -> str:
    return f"cannot be read: {error.strerror or type(error).__name__}"


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
