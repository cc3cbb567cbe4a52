"""What a release has to pass: `python -m tests.packaging.release`, by `make release-check`.

Builds sdist and wheel into dist/, checks the wheel, installs it into an environment of its own with the
versions of the lock, and writes the list of what is in there (SBOM, CycloneDX) beside it. Where the commit
has a tag, it has to be that of the version, and the changelog has to know it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from embedq_worker import __version__
from tests.packaging.requirements import ROOT

DIST = ROOT / "dist"
SBOM = DIST / f"embedq-tui-{__version__}.cdx.json"
LOCK = ROOT / "requirements" / "constraints.txt"


def main() -> int:
    """Check everything.

    Returns:
        0; what is wrong ends the program before.
    """
    _check_version()
    shutil.rmtree(DIST, ignore_errors=True)
    _run(sys.executable, "-m", "build", "--outdir", DIST, ROOT)
    (wheel,) = DIST.glob("*.whl")
    _run(Path(sys.executable).with_name("check-wheel-contents"), wheel)
    with tempfile.TemporaryDirectory(prefix="embedq-release-") as folder:
        python = Path(folder, "bin", "python")
        _run(sys.executable, "-m", "venv", "--without-pip", folder)
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
        _run(*pip, "install", "--quiet", "--constraint", LOCK, wheel)
        for program in ("embedq-tui", "embedq-worker"):
            _run(python.with_name(program), "--version")
        _run(
            *(Path(sys.executable).with_name("cyclonedx-py"), "environment", python),
            *("--pyproject", ROOT / "pyproject.toml", "--mc-type", "application"),
            *("--output-reproducible", "--output-file", SBOM),
        )
    print("\n".join(sorted(str(path.relative_to(ROOT)) for path in DIST.iterdir())))
    return 0


def _check_version() -> None:
    heading = re.search(r"^## (\S+) \((.*)\)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    if heading is None or heading[1] != __version__:
        sys.exit(f"the first heading of CHANGELOG.md is not that of {__version__}")
    tags = subprocess.run(
        ["git", "tag", "--points-at", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    if tags and f"v{__version__}" not in tags:
        sys.exit(f"this commit is tagged {', '.join(tags)}, the version is {__version__}")
    if tags and heading[2] == "unreleased":
        sys.exit(f"CHANGELOG.md says that {__version__} is unreleased: give it its date")


def _run(*command: str | Path) -> None:
    print("$", *command, flush=True)
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
