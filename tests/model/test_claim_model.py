"""The model of the claim protocol, where SPIN is installed; `make model` says what is missing."""

from __future__ import annotations

import pytest

from tests.model.check import CASES, LONG_CASES, MUTATIONS, check, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason="no SPIN or no C compiler")


def test_the_rules_hold_in_every_run() -> None:
    assert check(CASES[0]).wrong == ""


def test_the_check_can_fail() -> None:
    assert check(f"{CASES[0]} {MUTATIONS[0]}").wrong


@pytest.mark.slow
@pytest.mark.timeout(1_000)
@pytest.mark.parametrize("case", [*CASES[1:], *LONG_CASES])
def test_the_rules_hold_in_every_run_of_larger_cases(case: str) -> None:
    assert check(case).wrong == ""


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_each_rule_is_needed(mutation: str) -> None:
    assert check(f"{CASES[0]} {mutation}").wrong
