"""What pyproject.toml asks for."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def direct_requirements(*extras: str) -> Iterator[Requirement]:
    """Requirements of the program and of extras; those that name the program itself are resolved.

    Args:
        extras: Names; none for the program alone.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    for requirement in (Requirement(line) for lines in lists for line in lines):
        if canonicalize_name(requirement.name) == project["name"]:
            yield from direct_requirements(*requirement.extras)
        else:
            yield requirement
