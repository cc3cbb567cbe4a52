"""JSON over HTTP with what a client of a provider must insist on: deadlines, bounded answers, no secret in an
error."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote

import httpx

from embedq_worker import __version__
from embedq_worker.providers.base import ProviderMisconfigured, ProviderUnavailable

_CONNECT_TIMEOUT_S = 10.0
_KEEP_ALIVE_S = 30.0
_ERROR_BYTES = 65_536
_SLACK_BYTES = 4 * 1024 * 1024
_BYTES_PER_COMPONENT = 32
_QUOTED_CHARACTERS = 300
_SECRET_QUERY_CHARACTERS = 16
_HIDDEN = "[hidden]"
_SECRET_LOOKS = (
    (re.compile(r"\b(bearer)\s+[^\s\"',;]+", re.IGNORECASE), rf"\1 {_HIDDEN}"),
    (re.compile(r"\b(basic)\s+[\w+/=]{16,}", re.IGNORECASE), rf"\1 {_HIDDEN}"),
    (re.compile(r"\bsk-[\w*.-]+"), _HIDDEN),
    (re.compile(r"://[^/\s@]+@"), f"://{_HIDDEN}@"),
)
# A proxy of the environment is for the outside; a provider on this machine is asked directly.
_DIRECT: dict[str, httpx.AsyncBaseTransport | None] = {
    "all://localhost": None,
    "all://127.0.0.1": None,
    "all://[::1]": None,
}


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
            ProviderUnavailable: It is not JSON.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise ProviderUnavailable("the provider's answer is not JSON") from None


class Scrubber:
    """Makes foreign text fit for a log line: one line, at most 300 characters, no secret.

    Args:
        secrets: Texts that must never be shown, as known from the settings.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in (secret, quote(secret, safe=""), unquote(secret))}
        self._secrets = sorted(forms - {""}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return ``text`` scrubbed."""
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        for pattern, shown in _SECRET_LOOKS:
            text = pattern.sub(shown, text)
        return text if len(text) <= _QUOTED_CHARACTERS else text[: _QUOTED_CHARACTERS - 1] + "…"


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
        self.scrub = Scrubber([key or "", *_secrets_of(url)])
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": f"embedq/{__version__}",
        }
        if key:
            headers["Authorization"] = f"Bearer {_header_safe(key)}"
        self._client = httpx.AsyncClient(
            headers=headers,
            auth=httpx.BasicAuth(url.username, url.password) if url.userinfo and not key else None,
            timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_TIMEOUT_S, timeout_s)),
            limits=httpx.Limits(max_connections=None, keepalive_expiry=_KEEP_ALIVE_S),
            mounts=_DIRECT,
            follow_redirects=False,
        )

    async def get(self, path: str) -> Answer:
        """Ask for a small JSON document.

        Args:
            path: Appended to the path of the base URL.

        Raises:
            ProviderUnavailable: No whole answer came.
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
        """
        # A lone surrogate cannot be sent; a question mark in its place loses nothing a model could use.
        body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        return await self._send("POST", path, body, limit)

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
        except httpx.RequestError as error:
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
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) >= limit:
            break
    return bytes(body[:limit])


def _parsed(base_url: str, setting: str) -> httpx.URL:
    try:
        return httpx.URL(base_url)
    except httpx.InvalidURL:
        raise ProviderMisconfigured(f"{setting} is not a URL", f"set {setting} to http://HOST:PORT") from None


def _secrets_of(url: httpx.URL) -> list[str]:
    """What may be secret in a URL; short query values (versions, flags) are left readable."""
    values = [value for value in url.params.values() if len(value) >= _SECRET_QUERY_CHARACTERS]
    return [url.password or url.username, *values]


def _header_safe(key: str) -> str:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ProviderMisconfigured(
            "OPENAI_API_KEY holds characters no key has",
            "copy OPENAI_API_KEY again, without quotes or spaces",
        )
    return key
