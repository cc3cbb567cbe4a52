"""A coroutine run as a program."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from embedq_worker.process.running import run

LONG_S = 10.0


def test_the_end_does_not_wait_for_a_name_server_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, answer, answered = threading.Event(), threading.Event(), threading.Event()

    def silent(*_: Any) -> list[Any]:
        asked.set()
        answer.wait(LONG_S)
        answered.set()
        return []

    async def main() -> None:
        lookup = asyncio.create_task(asyncio.open_connection("db.invalid", 1))
        await asyncio.to_thread(asked.wait)
        lookup.cancel()
        await asyncio.gather(lookup, return_exceptions=True)

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    run(main())
    assert not answered.is_set()
    answer.set()


def test_names_are_looked_up() -> None:
    async def main(host: str) -> list[Any]:
        return await asyncio.get_running_loop().getaddrinfo(host, 80, type=socket.SOCK_STREAM)

    assert run(main("127.0.0.1")) == socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    with pytest.raises(socket.gaierror):
        run(main("no such host"))


def test_names_are_looked_up_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "name lookup":
            raise RuntimeError("can't start new thread")
        start(thread)

    async def main() -> list[Any]:
        return await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert run(main()) == socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
