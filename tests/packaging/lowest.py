"""Run the unit tests with the oldest versions that pyproject.toml allows: `python -m tests.packaging.lowest`.

Only what the program itself asks for is old; the tools of the tests are those of the lock.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.requirements import ROOT, direct_requirements

TOOLS = ("pytest", "pytest-asyncio", "pytest-timeout", "hypothesis", "packaging", "trustme")


def main() -> int:
    """Install into an environment of its own and test there; returns pytest's exit code."""
    oldest = [_oldest(requirement) for requirement in direct_requirements("demo")]
    lock = (ROOT / "requirements" / "constraints.txt").read_text("utf-8").splitlines()
    tools = [line for line in lock if canonicalize_name(line.partition("==")[0]) in TOOLS]
    with tempfile.TemporaryDirectory(prefix="embedq-lowest-") as folder:
        python = Path(folder, "bin", "python")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        constraints = Path(folder, "constraints.txt")
        constraints.write_text("\n".join(oldest))
        pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, "-c", constraints, "-e", f"{ROOT}[demo]", *tools], check=True)
        print("\n".join(oldest), flush=True)
        tests = sys.argv[1:] or ["tests/unit"]
        return subprocess.run(
            [python, "-m", "pytest", "-m", "not slow", *tests], cwd=ROOT, check=False
        ).returncode


def _oldest(requirement: Requirement) -> str:
    (bound,) = [specifier.version for specifier in requirement.specifier if specifier.operator == ">="]
    return f"{requirement.name}=={bound}"


if __name__ == "__main__":
    sys.exit(main())
