"""Translate HTTP errors of providers to the kinds of failure the queue knows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite

import httpx

from embedq_worker.providers.base import (
    InputRejected,
    Provider,
    ProviderError,
    ProviderMisconfigured,
    ProviderRateLimited,
    ProviderUnavailable,
    control_text,
)
from embedq_worker.providers.http import Answer, JsonClient
from embedq_worker.providers.vectors import BrokenAnswer

_LONGEST_WAIT_S = 86_400.0
_ABOVE_THE_LIMIT = re.compile(
    r"request too large|must be reduced|current limit: (\d+), remaining: \1\b", re.IGNORECASE
)
"""How OpenAI and LiteLLM say with 429 that a request exceeds the tokens of a minute: waiting is no use."""
_BROKEN_BEHIND = re.compile(
    r"\bcrashed\b|\bunloaded\b|no longer running|not responding|server status|loading model"
    r"|connection re(fused|set)|\bEOF\b|\b(get|post) \"https?://",
    re.IGNORECASE,
)
"""What LM Studio and Ollama say with 400 when the process that has the model crashed or is being replaced."""
_NO_MONEY = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "budget_exceeded"}
)
"""With any status: OpenAI's is 429, LiteLLM's 422, before that 400."""
_NO_MONEY_STATUSES = frozenset({402, 412})
"""412 is what Portkey says when a budget is exhausted."""
_HOST_AND_PORT = re.compile(r"[\w.:\[\]-]+")
_PASSING = frozenset({408, 409, 424, 425})
"""Statuses below 500 of a server in trouble; 424 is what TEI says when its model fails."""
_NO_SUCH_SERVICE = 501
"""What llama.cpp says unless it was started with --embeddings."""
_TOO_LONG = re.compile(
    r"context (length|size|window)|context_length|n_ctx|(input|sequence) length|(?<!took )too[ _](long|large)"
    r"|too many (input )?tokens|((less|fewer) than|exceeds?) \d+ tokens|max(imum)?\b[^.]{0,40}\btokens\b"
    r"|max(imum)? (model )?length",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Told:
    """What a provider said about a failure; may contain secrets.

    Attributes:
        message: The error message.
        codes: Machine-readable codes, such as ``insufficient_quota``.
    """

    message: str
    codes: frozenset[str]

    @property
    def too_long(self) -> bool:
        """Whether it says that a text exceeds the model's context."""
        return bool(_TOO_LONG.search(" ".join((self.message, *self.codes))))


@dataclass(frozen=True, slots=True)
class Remedies:
    """Advice specific to one provider.

    Attributes:
        refused: For 401 and 403.
        missing: For 404.
        unusable: If the test text of `check` is rejected.
    """

    refused: str
    missing: str
    unusable: str


def told_by(answer: Answer) -> Told:
    """Extract the message from the error bodies of OpenAI, Ollama, vLLM, TEI, Gemini, llama.cpp, proxies."""
    text = answer.body.decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return Told(text, frozenset())
    if isinstance(body, list) and len(body) == 1:  # Gemini
        [body] = body
    if not isinstance(body, Mapping):
        return Told(text, frozenset())
    inner = body.get("error", body)
    if not isinstance(inner, Mapping):
        inner = {**body, "message": inner}
    message = inner.get("message") or inner.get("detail") or text
    codes = (inner.get(name) for name in ("code", "type", "error_type"))
    return Told(str(message), frozenset(code for code in codes if isinstance(code, str)))


def failure_in(answer: Answer) -> Answer | None:
    """What a server that sends its errors with status 200 meant; None if the body contains no error.

    LM Studio does so for a wrong path, OpenRouter for what went wrong behind it, with the status in the body.
    """
    try:
        body = answer.json()
    except BrokenAnswer:
        return None
    match body:
        case {"error": {"code": int(status)}} if 400 <= status < 600:
            return replace(answer, status=status)
        case {"error": error} if error:
            return answer
    return None


def failure_of(answer: Answer, client: JsonClient, remedies: Remedies) -> ProviderError:
    """Classify a response that is an error.

    Args:
        answer: The response.
        client: The client that received it; removes secrets from the message.
        remedies: Advice specific to the provider.
    """
    told = told_by(answer)
    message = f"{client.endpoint} answered {answer.status}: {client.scrub(told.message)}".rstrip(": ")
    wait = retry_after(answer.headers)
    match answer.status:
        case 401 | 403:
            return ProviderMisconfigured(message, remedies.refused)
        case 404:
            return ProviderMisconfigured(message, remedies.missing)
        case 407:
            return ProviderMisconfigured(
                message, "the proxy requires credentials: add USER:PASSWORD@ to HTTP_PROXY and HTTPS_PROXY"
            )
        case status if told.codes & _NO_MONEY or status in _NO_MONEY_STATUSES:
            return ProviderMisconfigured(
                message, "the account's quota or budget is used up: check its plan and billing"
            )
        case 429 if _ABOVE_THE_LIMIT.search(told.message):
            return InputRejected(message, too_long=True)
        case 429 | 503 if answer.status == 429 or wait is not None:
            return ProviderRateLimited(message, retry_after=wait)
        case status if _is_passing(status, told):
            return ProviderUnavailable(message)
        case 400 | 413 | 422:
            return InputRejected(message, too_long=answer.status == 413 or told.too_long)
        case status if 300 <= status < 400:
            return _redirected(answer, client)
    return ProviderMisconfigured(message, f"check {client.setting}: it is probably not an embedding server")


def _is_passing(status: int, told: Told) -> bool:
    if status == 400:
        return bool(_BROKEN_BEHIND.search(told.message))
    return status in _PASSING or (status >= 500 and status != _NO_SUCH_SERVICE)


def _redirected(answer: Answer, client: JsonClient) -> ProviderMisconfigured:
    try:
        location = httpx.URL(answer.headers.get("location", ""))
    except httpx.InvalidURL:
        location = httpx.URL("")
    target, host = "another path", location.netloc.decode("ascii", "replace")
    if _HOST_AND_PORT.fullmatch(host):
        # The scheme or the port is often all that differs.
        target = client.scrub("://".join(filter(None, (location.scheme, host))))
    return ProviderMisconfigured(
        f"{client.endpoint} redirects to {target}", f"set {client.setting} to the final address"
    )


async def embed_check_text(provider: Provider, remedies: Remedies) -> None:
    """Embed one text that no provider has a reason to reject.

    Args:
        provider: Provider to check.
        remedies: Its specific advice.

    Raises:
        ProviderError: The advice says what to do; never `InputRejected`.
    """
    try:
        await provider.embed([control_text()])
    except InputRejected as refusal:
        raise ProviderMisconfigured(
            f"the provider rejects every text: {refusal.message}", remedies.unusable
        ) from None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how long to wait before the next request.

    Args:
        headers: With lower-case or case-insensitive names.

    Returns:
        Seconds, at most 86,400, from ``retry-after-ms`` or ``retry-after`` (seconds, or an HTTP date, which
        is compared with the provider's own clock if it sent a ``date``); None if absent, malformed or not
        positive: whoever obeyed a 0 that is sent each time would send requests without a pause.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _bounded(milliseconds / 1000)
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None:
        return _bounded(seconds)
    due = _date(value)
    if due is None:
        return None
    return _bounded((due - (_date(headers.get("date")) or datetime.now(UTC))).total_seconds())


def _bounded(seconds: float) -> float | None:
    return min(seconds, _LONGEST_WAIT_S) if seconds > 0 else None


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if isfinite(number) else None


def _date(value: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value or "")
    except (ValueError, OverflowError):  # OverflowError: year or offset out of range
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
