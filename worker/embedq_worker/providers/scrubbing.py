"""Make text from other programs safe for a log line: hide any of our secrets that a server echoes."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from html import escape

import httpx

from embedq_worker.text import printable_line

_QUOTED_CHARACTERS = 300
_SECRET_QUERY_CHARACTERS = 16
_SECRET_NAME = re.compile(r"key|token|secret|sig|pass|pwd|auth|credential|code", re.IGNORECASE)
_HIDDEN = "[hidden]"
_REPLACED = "\ufffd"
"""What `printable_line` makes of some characters."""
_SECRET_LOOKS = (
    (re.compile(r"\b(bearer)\s+[^\s\"',;]+", re.IGNORECASE), rf"\1 {_HIDDEN}"),
    (re.compile(r"\b(basic)\s+[\w+/=]{16,}", re.IGNORECASE), rf"\1 {_HIDDEN}"),
    (re.compile(r"\bsk-[\w*.-]+"), _HIDDEN),
    (re.compile(r"://[^/\s@]+@"), f"://{_HIDDEN}@"),
)


class Scrubber:
    """Makes text from other programs safe for a log line: one line, at most 300 characters, no secret.

    Args:
        secrets: Texts from the settings that must never be shown.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        known = sorted({secret for secret in secrets if secret.strip()}, key=len, reverse=True)
        self._known = re.compile("|".join(map(_in_any_spelling, known))) if known else None

    def __call__(self, text: str) -> str:
        """Return ``text`` scrubbed."""
        line = printable_line(text)
        if self._known:
            line = self._known.sub(_HIDDEN, line)
        for pattern, shown in _SECRET_LOOKS:
            line = pattern.sub(shown, line)
        return printable_line(line, _QUOTED_CHARACTERS)


def secrets_of(url: httpx.URL) -> list[str]:
    """Find what may be secret in a base URL.

    Args:
        url: As set by the operator.

    Returns:
        The password or, without one, the user; both as encoded for basic authentication; query values that
        are long or whose name suggests a secret. Versions and flags stay readable.
    """
    values = [
        value
        for name, value in url.params.multi_items()
        if len(value) >= _SECRET_QUERY_CHARACTERS or _SECRET_NAME.search(name)
    ]
    if not url.userinfo:
        return values
    login = b64encode(f"{url.username}:{url.password}".encode()).decode()
    return [url.password or url.username, login, *values]


def _in_any_spelling(secret: str) -> str:
    """A pattern that matches a secret verbatim, and as escaped in URLs, JSON, HTML or Python."""
    return "".join(
        rf"(?:\s|\+|{'|'.join(map(_escapes, sorted(set(part))))})+"
        if part.isspace()
        else "".join(map(_character, part))
        for part in re.split(r"(\s+)", secret.strip())
    )


def _character(character: str) -> str:
    plain = character if character.isprintable() else f"{character}{_REPLACED}"
    # The plain form comes last, because it is a prefix of others, as & is of &amp;.
    return rf"(?:{_escapes(character)}|{re.escape(escape(character))}|\\*[{re.escape(plain)}])"


def _escapes(character: str) -> str:
    percent = "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))
    utf16 = character.encode("utf-16-be", "surrogatepass")
    json = "".join(rf"\\+u{utf16[at : at + 2].hex()}" for at in range(0, len(utf16), 2))
    python = rf"\\+(?:x0*|u0*|U0*){ord(character):x}"
    return f"(?i:{percent}|{json}|{python})"
