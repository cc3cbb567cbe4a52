"""How failures of the database are explained."""

from __future__ import annotations

import asyncpg

from embedq_worker.configuration import load_settings
from embedq_worker.database.failures import explained
from embedq_worker.errors import Unreachable


def test_the_inner_state_of_the_driver_is_kept_from_the_operator() -> None:
    error = asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")
    told = explained(error, load_settings())
    assert isinstance(told, Unreachable)
    assert "state 12" not in str(told)
