"""What pyproject.toml asks for."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
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


def needed_by(requirements: Iterable[Requirement]) -> dict[str, Distribution]:
    """Installed distributions that requirements lead to, one after the other; nothing that nobody asks for.

    Args:
        requirements: What is asked for at first.
    """
    found: dict[str, Distribution] = {}
    asked = [(requirement, "") for requirement in requirements]
    seen = set()
    while asked:
        requirement, extra = asked.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras), extra)
        if key in seen or (requirement.marker and not requirement.marker.evaluate({"extra": extra})):
            continue
        seen.add(key)
        found[key[0]] = made = distribution(requirement.name)
        needs = [Requirement(line) for line in made.requires or ()]
        asked += [(need, name) for need in needs for name in ("", *requirement.extras)]
    return found
