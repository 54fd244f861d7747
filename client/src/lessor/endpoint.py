"""A server's URL taken apart, and the proxy that the environment puts before it.

``urllib.parse`` does this too, and costs a good part of what a bare Python start costs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PORTS = {"http": 80, "https": 443}


class Endpoint:
    """One ``http`` or ``https`` origin, with the path prefix below which the API lies."""

    __slots__ = ("host", "password", "port", "prefix", "scheme", "user")

    def __init__(
        self,
        scheme: str,
        host: str,
        port: int,
        *,
        prefix: str = "",
        user: str = "",
        password: str = "",
    ) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        self.prefix = prefix
        self.user = user
        self.password = password

    def __repr__(self) -> str:
        return f"Endpoint({self.scheme}://{self.authority}{self.prefix})"

    @classmethod
    def parse(cls, url: str, *, credentials: bool = False) -> Endpoint:
        """Take ``url`` apart. Raises ``ValueError``, which never quotes a password.

        Only a proxy's URL may hold ``credentials``.
        """
        scheme, mark, rest = url.partition("://")
        scheme = scheme.lower()
        if not mark or scheme not in DEFAULT_PORTS:
            raise ValueError(f"{_shown(url)!r} is not a URL that starts with http:// or https://")
        authority, slash, path = rest.partition("/")
        user_info, mark, address = authority.rpartition("@")
        if mark and not credentials:
            raise ValueError("a URL must hold no user name or password; an API key stands for both")
        if not url.isprintable() or " " in url or "?" in rest or "#" in rest:
            raise ValueError(f"{_shown(url)!r} holds characters that have no place in a URL")
        if not path.isascii():
            raise ValueError(f"{_shown(url)!r}: write its path in the ASCII form (%C3%A9 for é)")
        host, port = _split_address(address, DEFAULT_PORTS[scheme], _shown(url))
        user, _, password = user_info.partition(":")
        return cls(
            scheme,
            host,
            port,
            prefix=(slash + path).rstrip("/"),
            user=_unquote(user),
            password=_unquote(password),
        )

    @property
    def authority(self) -> str:
        """``host`` or ``host:port``, as the ``Host`` header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def address(self) -> str:
        """``host:port``, always with the port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def proxy_for(endpoint: Endpoint, environ: Mapping[str, str]) -> Endpoint | None:
    """The proxy on the way to ``endpoint``, by the customary variables.

    ``https_proxy`` or ``http_proxy`` by the scheme, else ``all_proxy``; the lower-case spelling
    wins; ``no_proxy`` lists hosts, domains, addresses and networks that are reached without it.
    A loopback address never goes through a proxy: it would mean another machine's loopback.

    Raises ``ValueError`` naming the variable.
    """
    name, url = _proxy_setting(endpoint.scheme, environ)
    if not url or _is_loopback(endpoint.host):
        return None
    if _is_excepted(endpoint, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    if "://" not in url:
        url = f"http://{url}"
    try:
        proxy = Endpoint.parse(url, credentials=True)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if proxy.scheme != "http":
        raise ValueError(f"{name}: the proxy itself must be reached by http://, not https://")
    return proxy


def _proxy_setting(scheme: str, environ: Mapping[str, str]) -> tuple[str, str]:
    names = [f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"]
    if "REQUEST_METHOD" in environ:
        # In a CGI program HTTP_PROXY is a request's "Proxy" header: anybody could set it.
        names.remove("HTTP_PROXY")
    for name in names:
        if environ.get(name):
            return name, environ[name]
    return "", ""


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or (host.startswith("127.") and _is_ipv4(host))


def _is_excepted(endpoint: Endpoint, exceptions: str) -> bool:
    for entry in exceptions.replace(",", " ").split():
        pattern, mark, port = entry.lower().rpartition(":")
        if mark and port.isdigit() and ":" not in pattern.strip("[]"):
            if int(port) != endpoint.port:
                continue
        else:
            pattern = entry.lower()
        if pattern == "*" or _matches(endpoint.host, pattern.strip("[]")):
            return True
    return False


def _matches(host: str, pattern: str) -> bool:
    if "/" in pattern:
        return _in_network(host, pattern)
    domain = pattern.removeprefix("*").removeprefix(".")
    return host == domain or host.endswith(f".{domain}")


def _in_network(host: str, network: str) -> bool:
    import ipaddress  # noqa: PLC0415 - few have a network in no_proxy

    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _is_ipv4(host: str) -> bool:
    parts = host.split(".")
    return len(parts) == 4 and all(part.isdigit() for part in parts)


def _split_address(address: str, default_port: int, shown: str) -> tuple[str, int]:
    if address.startswith("["):
        host, bracket, rest = address[1:].partition("]")
        mark, port = rest[:1], rest[1:]
        well_formed = bool(bracket) and mark in ("", ":") and ":" in host
    else:
        host, mark, port = address.partition(":")
        well_formed = all(char.isalnum() or char in "-._" for char in host)
    if not host or not well_formed or host.startswith(".") or len(host) > 253:
        raise ValueError(f"{shown!r} names no host")
    if not host.isascii():
        raise ValueError(f"{shown!r}: write the host name in its ASCII form (xn--…)")
    if not mark:
        return host.lower(), default_port
    if not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65_536:
        raise ValueError(f"{shown!r} has no port from 1 to 65535")
    return host.lower(), int(port)


def _shown(url: str) -> str:
    """The URL without what may be a password, short and printable."""
    scheme, mark, rest = url.rpartition("://")
    text = f"{scheme}{mark}{rest.rpartition('@')[2]}"
    return "".join(char if char.isprintable() else "?" for char in text[:200])


def _unquote(text: str) -> str:
    first, *parts = text.split("%")
    raw = first.encode()
    for part in parts:
        try:
            raw += bytes.fromhex(part[:2]) + part[2:].encode()
        except ValueError:
            raw += b"%" + part.encode()
    return raw.decode("utf-8", "replace")
