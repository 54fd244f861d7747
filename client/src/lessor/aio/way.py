"""How one server is reached: its URL, the proxy before it, TLS, and who we are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lessor_protocol import PROTOCOL_VERSION, codec
from yarl import URL

from lessor import __version__
from lessor.endpoint import Endpoint, proxy_for
from lessor.errors import UsageError
from lessor.tls import make_context, trust_the_whole_system

if TYPE_CHECKING:
    import ssl

    from lessor.config import ClientConfig


@dataclass(frozen=True, slots=True)
class Way:
    """``tls`` True means that there is none to be set up (plain HTTP)."""

    url: str
    name: str
    headers: dict[str, str]
    proxy: URL | None
    tls: ssl.SSLContext | bool


def find_ways(config: ClientConfig) -> list[Way]:
    """One per URL, in order. Reads files. Raises ``UsageError`` for what cannot work."""
    headers = {
        "Authorization": f"Bearer {config.api_key}",
        "Accept": codec.MSGPACK,
        "Lessor-Protocol": str(PROTOCOL_VERSION),
        "User-Agent": f"lessor/{__version__}",
    }
    return [_find_way(url, headers, config) for url in config.urls]


def _find_way(url: str, headers: dict[str, str], config: ClientConfig) -> Way:
    try:
        server = Endpoint.parse(url)
        proxy = proxy_for(server, config.environ)
    except ValueError as error:
        raise UsageError(str(error)) from None
    through = None
    if proxy is not None:
        through = URL.build(
            scheme="http",
            host=proxy.host,
            port=proxy.port,
            user=proxy.user or None,
            password=proxy.password or None,
        )
    tls = _context(config) if server.scheme == "https" else True
    return Way(url, server.authority, headers, through, tls)


def _context(config: ClientConfig) -> ssl.SSLContext:
    context = make_context(config.ca_file)
    if not config.ca_file:
        trust_the_whole_system(context)  # once, for all connections of a long life
    return context
