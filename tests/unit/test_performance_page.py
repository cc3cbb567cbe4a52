"""The page of figures is made from the numbers that were measured."""

from __future__ import annotations

from bench.report import PAGE, figures, render
from bench.result import load


def test_page_and_numbers_agree() -> None:
    assert PAGE.read_text() == render(load()), "python -m bench.report"


def test_every_figure_is_measured() -> None:
    assert {figure.name.split()[0] for figure in figures(load())} == set("1234567")
