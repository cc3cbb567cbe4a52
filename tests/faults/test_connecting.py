"""A connection that is given up while it is made."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from embedq_worker.database.connections import connect
from tests.support.databases import Database


async def test_a_connection_given_up_at_the_worst_moment_leaves_no_words(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    make = loop.create_connection

    async def interrupted(*arguments: Any, **options: Any) -> None:
        transport, _ = await make(*arguments, **options)
        transport.abort()
        raise asyncio.CancelledError

    monkeypatch.setattr(loop, "create_connection", interrupted)
    with pytest.raises(asyncio.CancelledError):
        await connect(database.settings)
    await asyncio.sleep(0)  # the loop tells that it is lost
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]
