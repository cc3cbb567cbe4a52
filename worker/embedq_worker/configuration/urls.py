"""URLs in the settings: parse them, mask their secrets, and adapt DATABASE_URL to asyncpg."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

MASK = "********"

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
SSL_MODES: tuple[SslMode, ...] = get_args(SslMode)
_SSL_WORDS = dict.fromkeys(("true", "1", "yes", "on", "no-verify"), "require") | dict.fromkeys(
    ("false", "0", "no", "off"), "disable"
)

_HOST = re.compile(r"(?:[^\s:@\[\]]*|\[[^\s\[\]@]+\])(?::(?P<port>\d{1,5}))?", re.ASCII)
_PORT = re.compile(r":\d+$")
_SUPERFLUOUS = frozenset({
    "async_fallback", "binary_parameters", "channel_binding", "client_encoding", "connect_timeout",
    "connection_limit", "currentSchema", "fallback_application_name", "gssencmode", "keepalives",
    "keepalives_count", "keepalives_idle", "keepalives_interval", "load_balance_hosts",
    "max_cacheable_statement_size", "max_overflow", "pgbouncer", "pool_mode", "pool_size", "pool_timeout",
    "prepareThreshold", "prepared_statement_cache_size", "prepared_statement_name_func",
    "prepared_statements", "require_auth", "schema", "socket_timeout", "ssl", "sslaccept", "sslcompression",
    "sslsni", "statement_cache_size", "supa", "tcp_user_timeout", "uselibpqcompat",
})  # fmt: skip
"""Parameters of libpq and other drivers. asyncpg would send them to the server, which would refuse them."""


def ssl_mode(word: str) -> str:
    """Translate the TLS modes of other programs (true, false, no-verify) to those of libpq.

    Args:
        word: As written by the operator.

    Returns:
        One of `SSL_MODES`, or the word in lower case if it is not a TLS mode.
    """
    word = word.strip().lower()
    return _SSL_WORDS.get(word, word)


def split_url(url: str) -> SplitResult:
    """Parse a URL, and refuse it if it is ambiguous.

    An unescaped delimiter in a password would put a part of the password into the host or the path, where it
    would be sent to the wrong place and shown unmasked.

    Args:
        url: As written by the operator.

    Raises:
        ValueError: It cannot be parsed; the message contains no part of the URL.
    """
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        raise ValueError("is not a valid URL; use [ and ] only around an IPv6 address") from None
    stray = "@" in parts.path or parts.fragment or "#" in url
    hosts = parts.netloc.rpartition("@")[2].split(",")
    matches = [_HOST.fullmatch(host) for host in hosts]
    if stray or not all(match and int(match["port"] or 0) <= 65_535 for match in matches):
        raise ValueError(
            "is not a valid URL: a port is a number up to 65535; in user and password, write @ as %40, "
            ": as %3A, / as %2F, ? as %3F, # as %23"
        )
    return parts


def check_http_url(url: str) -> str:
    """Check the base URL of a provider.

    Args:
        url: As written by the operator.

    Returns:
        The URL without surrounding white space and trailing slashes.

    Raises:
        ValueError: It is not valid; the message contains no part of the URL.
    """
    parts = split_url(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "," in parts.netloc:
        raise ValueError("must be an http:// or https:// URL")
    return url.strip().rstrip("/")


def check_postgres_url(url: str) -> None:
    """Check a DATABASE_URL.

    Args:
        url: As written by the operator.

    Raises:
        ValueError: It is not valid; the message contains no part of the URL.
    """
    if url.strip()[:1] in ("'", '"'):  # `docker --env-file` takes quotes in its file literally
        raise ValueError("begins with a quote: remove the quotes")
    scheme, separator, _ = url.strip().partition("://")
    if not separator or scheme.lower().partition("+")[0] not in ("postgres", "postgresql"):
        raise ValueError("must begin with postgresql://")
    parts = split_url(url)
    if any("=" not in parameter for parameter in parts.query.split("&") if parameter):
        raise ValueError("has a parameter without a value; in user and password, write ? as %3F")
    query = dict(parse_qsl(parts.query))
    hosts = (_PORT.sub("", host) for host in parts.netloc.rpartition("@")[2].split(","))
    check_hosts(",".join([*map(unquote, hosts), query.get("host", "")]))
    if _sslmode(query) not in (*SSL_MODES, None):
        raise ValueError(f"has an invalid sslmode; valid are {', '.join(SSL_MODES)}")


def check_hosts(hosts: str) -> None:
    """Check hosts of a database.

    Args:
        hosts: Names, addresses and socket directories, separated by commas.

    Raises:
        ValueError: One cannot be looked up: asyncio would raise what no caller expects of a connection.
    """
    for host in hosts.split(","):
        try:
            if "/" not in host:
                host.encode("idna")
        except UnicodeError:
            raise ValueError("has a host that cannot be a host name") from None


def masked_url(url: str) -> str:
    """A URL without its password, and without its query, which may hold secrets as well.

    Args:
        url: Any text; what cannot be parsed is masked as a whole.
    """
    try:
        parts = split_url(url)
    except ValueError:
        return MASK
    userinfo, at, host = parts.netloc.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    if not parts.scheme.startswith("postgres") and not colon:
        user, colon = "", ""  # in an HTTP URL, user information without a password is a token
        shown = f"{MASK}@{host}" if at else host
    else:
        shown = f"{user}{colon and ':' + MASK}{at}{host}"
    return f"{parts.scheme}://{shown}{parts.path}"


def connect_arguments_of(url: str) -> dict[str, Any]:
    """Turn a DATABASE_URL into arguments for asyncpg, tolerating parameters of other drivers.

    Args:
        url: Accepted by `check_postgres_url`.

    Returns:
        ``dsn``, and, if the URL sets them, ``server_settings``, ``timeout`` and ``statement_cache_size``.
    """
    parts = split_url(url)
    query = dict(parse_qsl(parts.query))
    arguments: dict[str, Any] = {}
    schema = query.get("schema") or query.get("currentSchema") or "public"
    if schema != "public":  # the default search_path has it, and PgBouncer refuses one in the startup packet
        arguments["server_settings"] = {"search_path": '"' + schema.replace('"', '""') + '"'}
    if (seconds := query.get("connect_timeout", "")).isdecimal() and int(seconds):
        arguments["timeout"] = float(seconds)
    if query.get("pgbouncer") == "true" or "0" in (
        query.get("statement_cache_size"),
        query.get("prepared_statement_cache_size"),
    ):
        arguments["statement_cache_size"] = 0
    kept = {name: value for name, value in query.items() if name not in _SUPERFLUOUS}
    if mode := _sslmode(query):
        kept["sslmode"] = mode
    # asyncpg ends the user information at the first @, other drivers at the last.
    userinfo, at, host = parts.netloc.rpartition("@")
    netloc = userinfo.replace("@", "%40") + at + host
    path = "" if parts.path == "/" else parts.path
    parameters = urlencode(kept, quote_via=quote)
    arguments["dsn"] = f"postgresql://{netloc}{path}{parameters and '?' + parameters}"
    return arguments


def _sslmode(query: Mapping[str, str]) -> str | None:
    word = query.get("sslmode") or query.get("ssl")
    return ssl_mode(word) if word else None
