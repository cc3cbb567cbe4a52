"""The lock fits pyproject.toml, and would be the same wherever it is written."""

from __future__ import annotations

import re

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.requirements import ROOT, direct_requirements

LINES = [
    line
    for line in (ROOT / "requirements" / "constraints.txt").read_text("utf-8").splitlines()
    if not line.startswith("#") and line
]


def test_every_line_is_a_version_and_nothing_else() -> None:
    assert [line for line in LINES if not re.fullmatch(r"[a-z0-9.-]+==[0-9a-z.+]+", line)] == []


def test_every_requirement_has_a_version_that_fits() -> None:
    pins = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in LINES)}
    wrong = [
        f"{requirement} -> {pins.get(canonicalize_name(requirement.name), 'missing')}; run: make lock"
        for requirement in direct_requirements("dev", "release")
        if pins.get(canonicalize_name(requirement.name), "") not in requirement.specifier
    ]
    assert wrong == []


def test_every_requirement_has_a_lower_bound() -> None:
    def has_lower_bound(requirement: Requirement) -> bool:
        return [specifier.operator for specifier in requirement.specifier][:1] == [">="]

    assert [str(one) for one in direct_requirements("dev", "release") if not has_lower_bound(one)] == []
