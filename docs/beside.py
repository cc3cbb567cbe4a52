"""Takes files that lie beside docs/ into the site, under the names by which the guide links to them."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
BESIDE = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "bench/README.md",
    "screenshots/*.svg",
    "worker/*",
    "worker/systemd/*",
)
"""Patterns of the files, from the top of the checkout."""

_UP = re.compile(r"(?<=\]\()\.\./")
_INTO_DOCS = re.compile(r"(?<=\]\()((?:\.\./)*)docs/")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add them to the files of the site; mkdocs calls this."""
    for pattern in BESIDE:
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file():
                name = path.relative_to(ROOT).as_posix()
                files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn links between docs/ and what is beside it into those of the site; mkdocs calls this."""
    if (ROOT / "docs" / page.file.src_uri).exists():
        return _UP.sub("", markdown)
    return _INTO_DOCS.sub(r"\1", markdown)
