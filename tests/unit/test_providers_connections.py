"""Connections to a provider: used again, given up in time, never left behind."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

import psutil
import pytest

from embedq_worker.providers.base import (
    ProviderMisconfigured,
    ProviderUnavailable,
)
from tests.support.failing import Protocol, both, failure, opened
from tests.support.provider_stub import Fault, ProviderStub, stub_vector
from tests.support.waiting import until


def open_connections(port: int) -> int:
    found = psutil.Process().net_connections(kind="tcp")
    return sum(1 for c in found if c.raddr and c.raddr.port == port and c.status == psutil.CONN_ESTABLISHED)


@both
async def test_connections_are_used_again(protocol: Protocol) -> None:
    async with ProviderStub() as stub, opened(protocol, stub.base_url) as provider:
        for _ in range(20):
            await provider.embed(["a"])
        stub.faults.fault, stub.faults.times = Fault.STATUS, 3
        for _ in range(3):
            await failure(provider)
        await provider.embed(["a"])
        assert stub.seen.connections == 1


@both
async def test_cancelled_requests_leave_no_connection_behind(protocol: Protocol) -> None:
    async with ProviderStub() as stub, opened(protocol, stub.base_url) as provider:
        stub.faults.hold = asyncio.Event()
        calls = [asyncio.create_task(provider.embed([str(number)])) for number in range(8)]
        await until(lambda: stub.seen.in_flight == 8)
        assert open_connections(stub.port) == 8
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert all(call.cancelled() for call in calls)
        await until(lambda: open_connections(stub.port) == 0)
        stub.faults.hold = None
        assert await provider.embed(["a"]) == [stub_vector("a", 8)]


@both
async def test_the_outer_deadline_of_a_caller_is_not_taken_for_the_provider(protocol: Protocol) -> None:
    async with ProviderStub() as stub, opened(protocol, stub.base_url) as provider:
        stub.faults.hold = asyncio.Event()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await provider.embed(["a"])


@both
@pytest.mark.parametrize("fault", [Fault.NONE, Fault.TRICKLE, Fault.HUGE])
async def test_a_request_ends_at_its_deadline_however_the_server_stalls(
    protocol: Protocol, fault: Fault
) -> None:
    async with (
        ProviderStub() as stub,
        opened(
            protocol, stub.base_url, request_timeout_ms=150 if fault is not Fault.HUGE else 5_000
        ) as provider,
    ):
        stub.faults.fault = fault
        stub.faults.hold = asyncio.Event() if fault is Fault.NONE else None
        began = perf_counter()
        error = await failure(provider)
        assert perf_counter() - began < 3
        assert isinstance(error, ProviderUnavailable)
        assert error.advice
        await until(lambda: open_connections(stub.port) == 0)


@both
async def test_a_host_that_accepts_nothing_is_given_up_at_the_deadline(protocol: Protocol) -> None:
    # The connection stands in the backlog; nobody accepts it or reads from it.
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with opened(protocol, url, request_timeout_ms=150) as provider:
            assert isinstance(await failure(provider), ProviderUnavailable)


async def test_a_host_that_drops_packets_is_not_taken_for_an_overloaded_server() -> None:
    with socket.socket() as listening, ExitStack() as waiting:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(2):  # the backlog is full, so that what comes next is dropped
            knocking = waiting.enter_context(socket.socket())
            knocking.setblocking(False)
            knocking.connect_ex(listening.getsockname())
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with opened("openai", url, request_timeout_ms=2_000) as provider:
            error = await failure(provider)
    assert isinstance(error, ProviderUnavailable)
    assert "EMBEDDING_REQUEST_TIMEOUT" not in error.advice


@both
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://[::1]:1", "http://no-such-host.invalid", "https://127.0.0.1:{port}"]
)
async def test_a_host_that_cannot_be_reached_is_named(protocol: Protocol, url: str) -> None:
    async with ProviderStub() as stub:
        target = url.format(port=stub.port)
        async with opened(protocol, target, request_timeout_ms=3_000) as provider:
            error = await failure(provider)
            assert isinstance(error, ProviderUnavailable)
            assert target in error.message
            assert {"ollama": "OLLAMA_BASE_URL", "openai": "OPENAI_BASE_URL"}[protocol] in error.advice


@both
async def test_what_the_system_says_of_a_failed_connection_is_told(protocol: Protocol) -> None:
    async with opened(protocol, "http://127.0.0.1:1") as provider:
        assert os.strerror(errno.ECONNREFUSED) in (await failure(provider)).message


@both
async def test_certificates_that_cannot_be_read_are_told(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with pytest.raises(ProviderMisconfigured) as caught:
        async with opened(protocol, "https://127.0.0.1:1"):
            pass
    assert "SSL_CERT_FILE" in str(caught.value)
