"""The network between here and one server, hop by hop."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from lessor.clock import now_ms
from lessor.connection import TimedOut, dial, poll_wait
from lessor.endpoint import Endpoint, proxy_for
from lessor.errors import NoAnswer, UsageError
from lessor.resolver import Resolver
from lessor.text import counted
from lessor.tls import TlsConnection, failure, is_authority_unknown, make_context
from lessor.transport import Link

from .findings import misconfigured, ok, unreachable, warning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from lessor.config import ClientConfig
    from lessor.connection import Address, Connection
    from lessor.http1 import Response

    from .findings import Finding

_PATIENCE_MS = 5_000
_CLOCK_SECONDS = 60
_CERTIFICATE_DAYS = 30


class Way:
    """The way to one URL. ``hops`` tests it and stops at the first that fails."""

    def __init__(self, url: str, config: ClientConfig) -> None:
        self._url = url
        self._config = config
        self._server = Endpoint.parse(url)
        self.link = Link(url, config.ca_file, config.environ)

    def hops(self, wall_seconds: float) -> Iterator[Finding]:
        """Test each hop. ``wall_seconds`` is what this machine's clock says."""
        try:
            proxy = proxy_for(self._server, self._config.environ)
        except ValueError as error:
            yield misconfigured("proxy", str(error))
            return
        first = proxy or self._server
        if proxy is not None:
            yield ok("proxy", f"{self._server.address} is reached through {proxy.address}")
        addresses: list[Address] = []
        yield _look_up(first, addresses)
        if not addresses:
            return
        finding = _connect(first, addresses, is_proxy=proxy is not None)
        yield finding
        if finding.exit_code:
            return
        if proxy is None and self._server.scheme == "https":
            finding = self._secure(addresses, wall_seconds)
            yield finding
            if finding.exit_code:
                return
        yield from self._speak(wall_seconds)

    def _secure(self, addresses: list[Address], wall_seconds: float) -> Finding:
        until_ms = now_ms() + _PATIENCE_MS
        try:
            context = make_context(self._config.ca_file)
            if not self._config.ca_file:
                context.load_default_certs()
            plain = _dial_any(addresses, until_ms)
            secured = TlsConnection.over(plain, context, self._server.host, until_ms)
        except UsageError as error:
            return misconfigured("TLS", str(error))
        except TimedOut:
            return unreachable(
                "TLS",
                f"{self._server.address} takes the connection, but no TLS handshake comes about",
                _ask(f"whether a firewall inspects TLS to {self._server.address}"),
            )
        except OSError as error:
            trouble = str(failure(self._server.address, error))
            return unreachable(
                "TLS",
                trouble,
                _ask(
                    "whether it replaces certificates on the way; if so, for the CA certificate "
                    "to put into SSL_CERT_FILE"
                )
                if is_authority_unknown(error)
                else "",
            )
        try:
            return self._certificate(secured.sock, wall_seconds)
        finally:
            secured.close()

    def _certificate(self, sock: ssl.SSLSocket, wall_seconds: float) -> Finding:
        found = sock.getpeercert() or {}
        ends = found.get("notAfter")
        text = f"{sock.version()}, certificate for {self._server.host}"
        if not isinstance(ends, str):
            return ok("TLS", text)
        days = int((ssl.cert_time_to_seconds(ends) - wall_seconds) // 86_400)
        text = f"{text}, valid for {counted(days, 'day')}"
        if days < _CERTIFICATE_DAYS:
            return warning("TLS", text, "ask the operator of the server to renew it")
        return ok("TLS", text)

    def _speak(self, wall_seconds: float) -> Iterator[Finding]:
        began_ms = now_ms()
        try:
            response = self.link.request("GET", "/livez", [], b"", now_ms() + _PATIENCE_MS)
        except NoAnswer as error:
            yield unreachable("HTTP", str(error), _ask(f"to allow HTTP to {self._url}"))
            return
        if response.status != 200 or b"alive" not in response.body:
            yield unreachable(
                "HTTP",
                f"{self.link.name} answers {response.status}, but not as a Lessor server does",
                "check LESSOR_URL; "
                + _ask("whether something on the way answers in the server's place"),
            )
            return
        yield ok("HTTP", f"a Lessor server answers in {now_ms() - began_ms} ms")
        yield from _clock(response, wall_seconds)


def _look_up(hop: Endpoint, found: list[Address]) -> Finding:
    resolver = Resolver(hop.host, hop.port)
    began_ms = now_ms()
    try:
        found.extend(resolver.lookup(poll_wait, began_ms + _PATIENCE_MS))
    except (NoAnswer, TimedOut) as error:
        trouble = str(error) or f"the name {hop.host} was not answered for in time"
        return unreachable("DNS", trouble, _ask(f"whether this machine may resolve {hop.host}"))
    finally:
        resolver.close()
    shown = ", ".join(sorted({address[1][0] for address in found}))
    if shown == hop.host:
        return ok("DNS", "not needed: the URL has an address")
    return ok("DNS", f"{hop.host} is {shown} ({now_ms() - began_ms} ms)")


def _connect(hop: Endpoint, addresses: list[Address], *, is_proxy: bool) -> Finding:
    what = f"the proxy {hop.address}" if is_proxy else hop.address
    began_ms = now_ms()
    try:
        _dial_any(addresses, began_ms + _PATIENCE_MS).close()
    except (OSError, TimedOut) as error:
        is_refused = isinstance(error, ConnectionRefusedError)
        trouble = "refused: nobody listens there" if is_refused else "no answer"
        if isinstance(error, OSError) and not is_refused:
            trouble = (error.strerror or type(error).__name__).lower()
        targets = ", ".join(sorted({address[1][0] for address in addresses}))
        return unreachable(
            "TCP",
            f"{what}: {trouble}",
            "check that it runs and that the port is right; "
            + _ask(f"to allow TCP from {_own_address(addresses[0])} to {targets} port {hop.port}"),
        )
    return ok("TCP", f"{what} takes connections ({now_ms() - began_ms} ms)")


def _dial_any(addresses: list[Address], until_ms: int) -> Connection:
    """A connection to the first address that takes it. Raises ``OSError`` or ``TimedOut``."""
    trouble: OSError | TimedOut = TimedOut()
    for index, address in enumerate(addresses):
        share_ms = (until_ms - now_ms()) // (len(addresses) - index)
        try:
            return dial(address, poll_wait, now_ms() + max(1, share_ms))
        except (OSError, TimedOut) as error:
            trouble = error
    raise trouble


def _clock(response: Response, wall_seconds: float) -> Iterator[Finding]:
    text = response.headers.get("date", "")
    try:
        theirs = parsedate_to_datetime(text).timestamp()
    except ValueError:
        return
    ahead = round(wall_seconds - theirs)
    if abs(ahead) <= _CLOCK_SECONDS:
        yield ok("clock", f"within {abs(ahead)} s of the server's")
        return
    direction = "ahead of" if ahead > 0 else "behind"
    here = datetime.fromtimestamp(wall_seconds, UTC)
    yield warning(
        "clock",
        f"this machine's clock ({here:%Y-%m-%d %H:%M} UTC) is {abs(ahead)} s {direction} the "
        "server's",
        "set it by NTP: leases do not mind, but certificates and offline licenses do",
    )


def _own_address(address: Address) -> str:
    """The address that this machine would use on the way there."""
    family, target = address
    with socket.socket(family, socket.SOCK_DGRAM) as probe:  # connecting UDP sends nothing
        try:
            probe.connect(target)
        except OSError:
            return "this machine"
        return str(probe.getsockname()[0])


def _ask(text: str) -> str:
    return f"ask the network team {text}"
