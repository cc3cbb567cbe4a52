"""JSON over HTTP with what a client of a provider must insist on: deadlines, bounded answers, no secret in an
error."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import zlib
from dataclasses import dataclass
from ipaddress import ip_address

import httpx

from embedq_worker import __version__
from embedq_worker.providers.base import ProviderMisconfigured, ProviderUnavailable
from embedq_worker.providers.scrubbing import Scrubber, secrets_of
from embedq_worker.providers.vectors import BrokenAnswer

# They log whole URLs and headers, and with them what is secret there.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

_CONNECT_TIMEOUT_S = 10.0
_KEEP_ALIVE_S = 4.0
"""Shorter than the 5 s after which uvicorn and Node.js close: a request must not cross with their closing."""
_ERROR_BYTES = 65_536
_SLACK_BYTES = 4 * 1024 * 1024
_BYTES_PER_COMPONENT = 32
_UNPACKED = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP_OR_ZLIB = zlib.MAX_WBITS + 32


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; the body of an error may be cut.

    Attributes:
        status: HTTP status.
        headers: Case-insensitive.
        body: At most as many bytes as were allowed.
    """

    status: int
    headers: httpx.Headers
    body: bytes

    def json(self) -> object:
        """The body as JSON.

        Raises:
            BrokenAnswer: It is not JSON.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise BrokenAnswer("is not JSON") from None


def answer_limit(texts: int, dimensions: int) -> int:
    """Bytes an answer with this many vectors may have, written as decimal numbers with room to spare.

    The slack lets a model of unexpected dimensions be recognised as such instead of as a flood.
    """
    return texts * dimensions * _BYTES_PER_COMPONENT + _SLACK_BYTES


class JsonClient:
    """One server that speaks JSON; connections are reused, redirects are not followed.

    Args:
        base_url: Scheme, host and path prefix; user and password in it become basic authentication, unless
            there is a key.
        setting: Variable the URL came from, for advice.
        timeout_s: Seconds for one request from connecting to the last byte.
        key: Sent as a bearer token when given.

    Raises:
        ProviderMisconfigured: URL or key cannot be used.
    """

    def __init__(self, base_url: str, *, setting: str, timeout_s: float, key: str | None = None) -> None:
        url = _parsed(base_url, setting)
        self.setting = setting
        self._base = url.copy_with(username=None, password=None)
        self._timeout_s = timeout_s
        self.endpoint = str(self._base.copy_with(query=None, fragment=None)).rstrip("/")
        self.scrub = Scrubber([key or "", *secrets_of(url)])
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": f"embedq/{__version__}",
        }
        if key:
            headers["Authorization"] = f"Bearer {_header_safe(key)}"
        verify = _certificates(url)
        try:
            self._client = httpx.AsyncClient(
                headers=headers,
                auth=httpx.BasicAuth(url.username, url.password) if url.userinfo and not key else None,
                timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_TIMEOUT_S, timeout_s)),
                limits=httpx.Limits(max_connections=None, keepalive_expiry=_KEEP_ALIVE_S),
                follow_redirects=False,
                verify=verify,
                # A proxy of the environment is for the outside; this machine is asked directly.
                trust_env=not _is_this_machine(url.host),
            )
        except (ImportError, ValueError, httpx.InvalidURL):
            raise ProviderMisconfigured(
                "a proxy of the environment cannot be used",
                "set HTTP_PROXY, HTTPS_PROXY and ALL_PROXY to http://HOST:PORT, NO_PROXY to names of hosts "
                "(no network such as fd00::/8), or unset them",
            ) from None

    async def get(self, path: str) -> Answer:
        """Ask for a small JSON document.

        Args:
            path: Appended to the path of the base URL.

        Raises:
            ProviderUnavailable: No whole answer came.
            ProviderMisconfigured: The server does not prove that it is who it is taken for.
        """
        return await self._send("GET", path, None, _ERROR_BYTES)

    async def post(self, path: str, payload: object, *, limit: int) -> Answer:
        """Send a JSON document.

        Args:
            path: Appended to the path of the base URL.
            payload: What becomes the JSON body.
            limit: Bytes the answer may have.

        Raises:
            ProviderUnavailable: No whole answer came, or one above the limit.
            ProviderMisconfigured: The server does not prove that it is who it is taken for.
        """
        # A lone surrogate cannot be sent; a question mark in its place loses nothing a model could use.
        body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        return await self._send("POST", path, body, limit)

    def broken(self, answer: BrokenAnswer) -> ProviderUnavailable:
        """Say that an answer with a good status is of no use."""
        return ProviderUnavailable(
            f"{self.endpoint}: the answer {answer}", f"is {self.setting} the address of an embedding server?"
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _send(self, method: str, path: str, body: bytes | None, limit: int) -> Answer:
        url = self._base.copy_with(path=self._base.path.rstrip("/") + path)
        try:
            # httpx times each read; a server that trickles would never exceed that.
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream(method, url, content=body) as response,
            ):
                limit = limit if response.is_success else _ERROR_BYTES
                answer = Answer(response.status_code, response.headers, await _read(response, limit + 1))
        except (TimeoutError, httpx.TimeoutException):
            raise ProviderUnavailable(
                f"{self.endpoint} did not answer within {self._timeout_s:g} s",
                f"is the server at {self.setting} overloaded? EMBEDDING_REQUEST_TIMEOUT sets the deadline",
            ) from None
        except zlib.error:
            raise self.broken(BrokenAnswer("is compressed, and spoilt")) from None
        except httpx.ProxyError as error:
            raise ProviderUnavailable(
                f"{self.endpoint}: the proxy answered {self.scrub(str(error))}",
                "are HTTP_PROXY and HTTPS_PROXY right? NO_PROXY names hosts that are asked without them",
            ) from None
        except httpx.RequestError as error:
            if _is_unproved(error):
                raise ProviderMisconfigured(
                    f"{self.endpoint}: {self.scrub(str(error))}",
                    f"is {self.setting} right? SSL_CERT_FILE names a file with certificates to trust",
                ) from None
            raise ProviderUnavailable(
                f"{self.endpoint}: {self.scrub(str(error)) or type(error).__name__}",
                f"is the server running, and is {self.setting} right?",
            ) from None
        if response.is_success and len(answer.body) > limit:
            raise ProviderUnavailable(
                f"{self.endpoint} answered more than {limit} bytes",
                "`embedq-tui check` tells whether EMBEDDING_DIMENSIONS is right",
            )
        return answer


async def _read(response: httpx.Response, limit: int) -> bytes:
    """Read no more than the limit. httpx would unpack first what was compressed though nobody asked for it:
    a thousand times what came, and in as many layers as the server says."""
    packed = response.headers.get("content-encoding", "").strip().lower() in _UNPACKED
    unpack = zlib.decompressobj(_GZIP_OR_ZLIB) if packed else None
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += unpack.decompress(chunk, limit - len(body)) if unpack else chunk
        if len(body) >= limit:
            break
    return bytes(body[:limit])


def _parsed(base_url: str, setting: str) -> httpx.URL:
    try:
        return httpx.URL(base_url)
    except httpx.InvalidURL:
        raise ProviderMisconfigured(f"{setting} is not a URL", f"set {setting} to http://HOST:PORT") from None


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _is_unproved(error: BaseException | None) -> bool:
    """Whether it is the certificate of the server that is not accepted."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


def _certificates(url: httpx.URL) -> ssl.SSLContext | bool:
    """What a server must prove itself with. To read it takes a command's time, so only where it is needed."""
    if url.scheme != "https":
        return False
    try:
        return httpx.create_ssl_context()
    except OSError:  # ssl.SSLError is one
        raise ProviderMisconfigured(
            "the certificates of the environment cannot be read",
            "set SSL_CERT_FILE and SSL_CERT_DIR to what there is, or unset them",
        ) from None


def _header_safe(key: str) -> str:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ProviderMisconfigured(
            "OPENAI_API_KEY holds characters no key has",
            "copy OPENAI_API_KEY again, without quotes or spaces",
        )
    return key
