"""The URL of a store: one server, a master that Sentinel names, or a Cluster.

::

    redis://[user:password@]host:6379/0            rediss:// is the same over TLS
    unix:///run/redis.sock
    redis+sentinel://[user:password@]host:port,host:port/service
    redis+cluster://[user:password@]host:port,host:port

What stands behind ``?`` belongs to the connections, ``ssl_ca_certs`` for one. ``user:password`` is
for the servers; sentinels have ``?sentinel_username=…&sentinel_password=…``. No error quotes the
URL: it may hold a password.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from . import settings

if TYPE_CHECKING:
    from .settings import Address

EMBEDDED = "embedded"
SINGLE = "single"
SENTINEL = "sentinel"
CLUSTER = "cluster"

SCHEMES = (
    *("redis", "rediss", "unix"),
    *("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"),
)


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """A URL taken apart. ``nodes`` are sentinels or Cluster nodes; empty for a single server."""

    text: str
    kind: str
    nodes: tuple[Address, ...] = ()
    service: str = ""

    def of_server(self, address: Address) -> str:
        """The URL of one server behind this store."""
        parts = urlsplit(self.text)
        query = [(name, value) for name, value in parse_qsl(parts.query) if not _is_sentinel(name)]
        userinfo, at, _ = parts.netloc.rpartition("@")
        return self._url(f"{userinfo}{at}{address}", query)

    def of_sentinel(self, address: Address) -> str:
        """The URL of one sentinel."""
        query = parse_qsl(urlsplit(self.text).query)
        own = {name: value for name, value in query if _is_sentinel(name)}
        user, password = (quote(own.get(f"sentinel_{name}", "")) for name in _SENTINEL_LOGIN)
        userinfo = f"{user}:{password}@" if user or password else ""
        shared = [one for one in query if one[0].startswith("ssl_")]
        return self._url(f"{userinfo}{address}", shared)

    def _url(self, netloc: str, query: list[tuple[str, str]]) -> str:
        scheme = urlsplit(self.text).scheme.partition("+")[0]
        return f"{scheme}://{netloc}" + (f"?{urlencode(query)}" if query else "")


_SENTINEL_LOGIN = ("username", "password")


def _is_sentinel(name: str) -> bool:
    return name.startswith("sentinel_")


def read(raw: object) -> str:
    """``embedded`` or a URL that can be meant, as it was written. Raises ``ValueError``."""
    text = str(raw)
    if text != EMBEDDED:
        parse(text)
    return text


def parse(text: str) -> StoreUrl:
    """Take a URL apart. Raises ``ValueError``."""
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError("is not a URL that can be read") from None
    if parts.scheme not in SCHEMES:
        wanted = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise ValueError(f"must be '{EMBEDDED}' or start with one of {wanted}")
    kind = parts.scheme.partition("+")[2] or SINGLE
    if kind == SINGLE:
        _check_single(text)
        return StoreUrl(text, kind)
    nodes = _nodes(parts.scheme, parts.netloc.rpartition("@")[2])
    service = parts.path.strip("/")
    if kind == SENTINEL and (not service or "/" in service):
        raise ValueError(f"names no service; write {parts.scheme}://host:26379,host:26379/service")
    if kind == CLUSTER and service:
        raise ValueError(f"has a path, and a Cluster has none; write {parts.scheme}://host:6379")
    return StoreUrl(text, kind, nodes, service)


def _check_single(text: str) -> None:
    parts = urlsplit(text)
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL that can be read") from None
    if parts.scheme == "unix" and not parts.path:
        raise ValueError("names no socket; write unix:///path/to/redis.sock")
    if parts.scheme != "unix" and not parts.hostname:
        raise ValueError(f"names no host; write {parts.scheme}://host:6379")


def _nodes(scheme: str, listed: str) -> tuple[Address, ...]:
    try:
        nodes = tuple(settings.address(one) for one in listed.split(","))
    except ValueError:
        raise ValueError(
            f"names no hosts; write {scheme}://host:port,host:port with a port for each"
        ) from None
    return tuple(dict.fromkeys(nodes))
