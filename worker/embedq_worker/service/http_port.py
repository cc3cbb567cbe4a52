"""The HTTP port of a worker for Prometheus and container supervisors: /metrics, /healthz, /readyz.

It answers from threads of its own, so that it can report a blocked event loop, and so that slow clients delay
nobody.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from time import monotonic
from typing import Any, TypeVar

from prometheus_client.exposition import choose_encoder

from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import DirectConnection, connect
from embedq_worker.database.failures import EXPECTED_ERRORS
from embedq_worker.errors import EmbedqError, UsageError
from embedq_worker.service.exposition import DatabaseState, WorkerTelemetry, read_state
from embedq_worker.service.logs import Log
from embedq_worker.text import printable_line

T = TypeVar("T")

ASKERS = 16
"""Maximum number of concurrent requests; connections beyond that are closed."""

PATIENCE_S = 5.0
"""Timeout for a slow client, and for the event loop."""

DATABASE_PATIENCE_S = 3.0
"""Shorter than the scrape timeout of Prometheus, so that an outage of the database is reported."""

FRESH_S = 1.0
"""A state up to this age is used again."""


class StateReader:
    """Reads the state of the database, over a connection of its own so that a busy pool is not an outage.

    Args:
        settings: Where the database is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection: DirectConnection | None = None
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._state: DatabaseState | None = None

    async def read(self) -> DatabaseState | None:
        """The state of the database; None if it cannot be reached."""
        async with self._lock:
            if monotonic() - self._read_at > FRESH_S:
                self._state = await self._read()
                self._read_at = monotonic()
            return self._state

    async def _read(self) -> DatabaseState | None:
        for _ in range(2):  # the connection from last time may have broken since
            kept = self._connection is not None
            try:
                async with asyncio.timeout(DATABASE_PATIENCE_S):
                    if self._connection is None:
                        self._connection = await connect(self._settings, "embedq-worker metrics")
                    return await read_state(self._connection, self._settings)
            except (*EXPECTED_ERRORS, EmbedqError):
                self.close()
                if not kept:
                    break
        return None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


@dataclass(frozen=True, slots=True)
class Answers:
    """Where the answers come from.

    Attributes:
        telemetry: Metrics of this worker.
        reader: State of the database.
        stopping: Returns whether the worker was told to stop.
        log: Log of the worker.
    """

    telemetry: WorkerTelemetry
    reader: StateReader
    stopping: Callable[[], bool]
    log: Log


@asynccontextmanager
async def served(settings: Settings, answers: Answers) -> AsyncIterator[None]:
    """Serve the port for the duration of the block.

    Args:
        settings: Host and port; the port must be set.
        answers: Where the answers come from.

    Raises:
        UsageError: The port cannot be opened.
    """
    server = _bound(settings, answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
    thread.start()
    answers.log.info("metrics served", host=settings.metrics_host, port=server.server_address[1])
    try:
        yield
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        answers.reader.close()


def _bound(settings: Settings, answers: Answers) -> _Server:
    host, port = settings.metrics_host, settings.metrics_port
    assert port is not None
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return _Server(family, address, answers, asyncio.get_running_loop())
    except (OSError, UnicodeError) as error:  # UnicodeError: the host name is invalid
        raise UsageError(
            f"metrics cannot be served on {host} port {port}: {getattr(error, 'strerror', None) or error}",
            "choose others with --metrics-port and --metrics-host, or omit both",
        ) from error


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def __init__(
        self,
        family: socket.AddressFamily,
        address: Any,
        answers: Answers,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.address_family = family
        self.answers = answers
        self._loop = loop
        self._places = threading.BoundedSemaphore(ASKERS)
        super().__init__(address, _Handler)

    def in_loop(self, call: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the worker's event loop.

        Raises:
            TimeoutError: The loop is blocked, or the coroutine takes too long.
        """
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result(PATIENCE_S + DATABASE_PATIENCE_S)
        except TimeoutError:
            future.cancel()
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except Exception:  # no thread could be started, which would have released the place
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        # Those are raised if the client disconnects, and if the worker ends.
        if not isinstance(error, OSError | CancelledError):
            self.answers.log.error("a request for metrics failed", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = PATIENCE_S
    server_version = "embedq"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        # A socket timeout applies to each read; a client that sends a byte now and then never exceeds it.
        self._reading = threading.Timer(PATIENCE_S, self._hang_up)
        self._reading.daemon = True
        self._reading.start()

    def finish(self) -> None:
        self._reading.cancel()
        super().finish()

    def _hang_up(self) -> None:
        with suppress(OSError):  # the connection has ended in the meantime
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        self._reading.cancel()
        path = self.path.partition("?")[0]
        answer = {"/metrics": self._metrics, "/healthz": self._healthz, "/readyz": self._readyz}.get(path)
        if answer is None:
            self._respond(HTTPStatus.NOT_FOUND, "not found; there are /metrics, /healthz and /readyz")
            return
        try:
            answer()
        except TimeoutError:
            self._respond(HTTPStatus.SERVICE_UNAVAILABLE, "the event loop is blocked")

    do_HEAD = do_GET  # noqa: N815 - named by the base class

    def _metrics(self) -> None:
        answers = self.server.answers
        state = self.server.in_loop(answers.reader.read())
        encode, content_type = choose_encoder(self.headers.get("Accept", ""))
        self._send(HTTPStatus.OK, content_type, encode(answers.telemetry.families(state)))

    def _healthz(self) -> None:
        self.server.in_loop(asyncio.sleep(0))
        self._respond(HTTPStatus.OK, "alive")

    def _readyz(self) -> None:
        answers = self.server.answers
        state = self.server.in_loop(answers.reader.read())
        if answers.stopping():
            self._respond(HTTPStatus.SERVICE_UNAVAILABLE, "stopping")
        elif state is None:
            self._respond(HTTPStatus.SERVICE_UNAVAILABLE, "the database cannot be reached")
        elif state.seen is None or not state.schema_current:
            self._respond(HTTPStatus.SERVICE_UNAVAILABLE, "the schema does not match this program")
        else:
            told = [f"provider {one.key}: {one.state} {one.reason}".rstrip() for one in state.seen.providers]
            self._respond(HTTPStatus.OK, "ready", *told)

    def _respond(self, status: HTTPStatus, *lines: str) -> None:
        text = "".join(f"{printable_line(line)}\n" for line in lines)
        self._send(status, "text/plain; charset=utf-8", text.encode("utf-8", "replace"))

    def _send(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the base class
        """Do not log requests."""
