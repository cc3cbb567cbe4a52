"""Generate the tables in the guide from the program: `python -m tests.support.guide_tables`."""

from __future__ import annotations

import re
from pathlib import Path

from embedq_tui.console.keys import markdown
from tests.support.settings_table import table

DOCS = Path(__file__).resolve().parents[2] / "docs"


def main() -> None:
    """Write the tables of settings and keys again; tests check that they are up to date."""
    settings = DOCS / "configuration.md"
    lines = re.sub(
        r"^\| Variable \|.*?(?=^[^|]|\Z)",
        lambda _: table(),
        settings.read_text("utf-8"),
        flags=re.DOTALL | re.MULTILINE,
    )
    settings.write_text(lines, "utf-8")
    keys = DOCS / "console.md"
    before, mark, _ = keys.read_text("utf-8").partition("<!-- keys -->\n")
    keys.write_text(before + mark + markdown(), "utf-8")


if __name__ == "__main__":
    main()
