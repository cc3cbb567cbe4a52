"""JSON over HTTP for clients of providers: deadlines, bounded responses, errors without secrets."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import zlib
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.request import getproxies, proxy_bypass

import httpx

from embedq_worker import __version__
from embedq_worker.providers.base import ProviderMisconfigured, ProviderUnavailable
from embedq_worker.providers.scrubbing import Scrubber, secrets_of
from embedq_worker.providers.vectors import BrokenAnswer

# They log complete URLs and headers, including secrets.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

_CONNECT_TIMEOUT_S = 10.0
_KEEP_ALIVE_S = 4.0
"""Shorter than the 5 s after which uvicorn and Node.js close a connection, which requests must not race."""
_ERROR_BYTES = 65_536
_SLACK_BYTES = 4 * 1024 * 1024
_BYTES_PER_COMPONENT = 32
_UNPACKED = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP_OR_ZLIB = zlib.MAX_WBITS + 32


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; the body of an error may be truncated.

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
    """Maximum size in bytes of a response with this many vectors, as decimal numbers, with room to spare.

    The slack lets a model with unexpected dimensions be recognised as such, not as an oversized response.
    """
    return texts * dimensions * _BYTES_PER_COMPONENT + _SLACK_BYTES


class JsonClient:
    """A client for one server that speaks JSON; reuses connections, does not follow redirects.

    Args:
        base_url: Scheme, host and path prefix; a user and password in it become basic authentication, unless
            there is a key.
        setting: Variable that holds the URL, for advice.
        timeout_s: Seconds for one request, from connecting to the last byte.
        key: Sent as a bearer token if given.

    Raises:
        ProviderMisconfigured: URL or key is not valid.
    """

    def __init__(self, base_url: str, *, setting: str, timeout_s: float, key: str | None = None) -> None:
        url = _parsed(base_url, setting)
        self.setting = setting
        self._base = url.copy_with(username=None, password=None)
        self._timeout_s = timeout_s
        self._connect_timeout_s = min(_CONNECT_TIMEOUT_S, timeout_s * 0.9)  # it has to come first to be told
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
        # A proxy in the environment is for other hosts; local servers are contacted directly.
        proxied = not _is_this_machine(url.host)
        self._proxy = _proxy_of(url) if proxied else ""
        try:
            self._client = httpx.AsyncClient(
                headers=headers,
                auth=httpx.BasicAuth(url.username, url.password) if url.userinfo and not key else None,
                timeout=httpx.Timeout(timeout_s, connect=self._connect_timeout_s),
                limits=httpx.Limits(max_connections=None, keepalive_expiry=_KEEP_ALIVE_S),
                follow_redirects=False,
                verify=verify,
                trust_env=proxied,
            )
        except (ImportError, ValueError, httpx.InvalidURL):
            raise ProviderMisconfigured(
                "the proxy settings in the environment are not valid",
                "set HTTP_PROXY, HTTPS_PROXY and ALL_PROXY to http://HOST:PORT and NO_PROXY to host names "
                "(not networks such as fd00::/8), or unset them",
            ) from None

    async def get(self, path: str) -> Answer:
        """Request a small JSON document.

        Args:
            path: Appended to the path of the base URL.

        Raises:
            ProviderUnavailable: No complete response arrived.
            ProviderMisconfigured: The certificate of the server is not trusted.
        """
        return await self._send("GET", path, None, _ERROR_BYTES)

    async def post(self, path: str, payload: object, *, limit: int) -> Answer:
        """Send a JSON document.

        Args:
            path: Appended to the path of the base URL.
            payload: Sent as the JSON body.
            limit: Maximum size of the response in bytes.

        Raises:
            ProviderUnavailable: No complete response arrived, or it exceeds the limit.
            ProviderMisconfigured: The certificate of the server is not trusted.
        """
        # Lone surrogates cannot be encoded; a question mark in their place loses nothing a model could use.
        body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        return await self._send("POST", path, body, limit)

    def broken(self, answer: BrokenAnswer) -> ProviderUnavailable:
        """The error for a successful response with malformed contents."""
        return ProviderUnavailable(
            f"{self.endpoint}: the response {answer}", f"is {self.setting} the URL of an embedding server?"
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _send(self, method: str, path: str, body: bytes | None, limit: int) -> Answer:
        url = self._base.copy_with(path=self._base.path.rstrip("/") + path)
        try:
            # httpx applies its timeout to each read; a server that sends byte by byte never exceeds it.
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream(method, url, content=body) as response,
            ):
                limit = limit if response.is_success else _ERROR_BYTES
                answer = Answer(response.status_code, response.headers, await _read(response, limit + 1))
        except httpx.ConnectTimeout:
            raise self._unconnected(
                f"no connection within {self._connect_timeout_s:g} s",
                " Is a firewall in between, or do name servers not answer?",
            ) from None
        except (TimeoutError, httpx.TimeoutException):
            raise ProviderUnavailable(
                f"{self.endpoint} did not answer within {self._timeout_s:g} s",
                f"is the server at {self.setting} overloaded, or still loading the model? "
                "EMBEDDING_REQUEST_TIMEOUT sets the timeout, EMBEDDING_REQUEST_INPUTS the texts per request",
            ) from None
        except zlib.error:
            raise self.broken(BrokenAnswer("has a corrupt compression")) from None
        except httpx.ProxyError as error:
            raise ProviderUnavailable(
                f"{self.endpoint}: the proxy answered {self.scrub(str(error))}",
                "check HTTP_PROXY and HTTPS_PROXY; NO_PROXY lists hosts to contact without a proxy",
            ) from None
        except httpx.RequestError as error:
            if _is_untrusted(error):
                raise ProviderMisconfigured(
                    f"{self.endpoint}: {self.scrub(str(error))}",
                    f"check {self.setting}; SSL_CERT_FILE names a file with trusted certificates",
                ) from None
            raise self._unconnected(self.scrub(_reason(error))) from None
        if response.is_success and len(answer.body) > limit:
            raise ProviderUnavailable(
                f"{self.endpoint} answered with more than {limit} bytes",
                "check EMBEDDING_DIMENSIONS: embedq-tui check",
            )
        return answer

    def _unconnected(self, reason: str, more: str = "") -> ProviderUnavailable:
        if self._proxy:
            return ProviderUnavailable(
                f"{self.endpoint} through the proxy {self._proxy}: {reason}",
                "is the proxy running? Check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY; NO_PROXY lists hosts to "
                "contact without a proxy." + more,
            )
        return ProviderUnavailable(
            f"{self.endpoint}: {reason}", f"is the server running, and is {self.setting} correct?{more}"
        )


async def _read(response: httpx.Response, limit: int) -> bytes:
    """Read no more than the limit.

    httpx would first decompress a response that is compressed although that was not requested: to a thousand
    times its size, and in as many layers as the server declares.
    """
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
        raise ProviderMisconfigured(
            f"{setting} is not a valid URL", f"set {setting} to http://HOST:PORT"
        ) from None


def _proxy_of(url: httpx.URL) -> str:
    """Host and port of the proxy for a URL, if the environment names one."""
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(url.host):
        return ""
    with suppress(httpx.InvalidURL):
        return httpx.URL(proxy if "://" in proxy else f"http://{proxy}").netloc.decode("ascii")
    return ""


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _reason(error: BaseException) -> str:
    """What the system said, such as "Connection refused", which httpx leaves out, or else what httpx says."""
    innermost = error
    while cause := innermost.__cause__ or innermost.__context__:
        innermost = cause
    number = innermost.errno if isinstance(innermost, OSError) else None
    # TLS and the search for a name have numbers of their own.
    if not number or number < 0 or isinstance(innermost, ssl.SSLError):
        return str(error) or type(error).__name__
    return os.strerror(number)


def _is_untrusted(error: BaseException | None) -> bool:
    """Whether the cause is that the certificate of the server is not trusted."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


def _certificates(url: httpx.URL) -> ssl.SSLContext | bool:
    """The certificates to trust; reading them takes as long as a whole command, so only for https."""
    if url.scheme != "https":
        return False
    try:
        return httpx.create_ssl_context()
    except OSError:  # including ssl.SSLError
        raise ProviderMisconfigured(
            "the certificates named in the environment cannot be read",
            "set SSL_CERT_FILE and SSL_CERT_DIR to existing certificates, or unset them",
        ) from None


def _header_safe(key: str) -> str:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ProviderMisconfigured(
            "OPENAI_API_KEY contains characters that no key has",
            "copy OPENAI_API_KEY again, without quotes or spaces",
        )
    return key
