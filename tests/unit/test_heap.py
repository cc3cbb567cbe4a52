"""What a console that stands for hours gives back."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from embedq_tui.console import heap
from embedq_worker.waits import beside
from tests.support.waiting import until


class _Circle:
    """Refers to itself, as a line of Textual that fills the screen does."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody else collects, and afterwards what was loaded is frozen again."""
    monkeypatch.setattr(heap, "SETTLED_S", 0.0)
    monkeypatch.setattr(heap, "SWEPT_EVERY_S", 0.01)
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


async def test_circles_are_freed_now_and_then() -> None:
    frozen = gc.get_freeze_count()
    async with beside(heap.swept()):
        await until(lambda: gc.get_freeze_count() > frozen)
        circle = _Circle()
        gone = weakref.ref(circle)
        gc.collect(1)  # as Python does when many were made: it stays, and is old
        del circle
        await until(lambda: gone() is None)


def test_what_was_expected_to_stay_is_let_go_of_where_it_does_not() -> None:
    circle = weakref.ref(_Circle())
    gc.freeze()
    heap.settle_again()
    assert circle() is None
    assert gc.get_freeze_count() > 0
