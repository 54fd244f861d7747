"""One server, one kept connection: a request goes out, an answer comes back, in time or never.

The time-out of a request covers everything: name, connection, proxy, TLS, sending, receiving.
Requests of the lease protocol may be repeated, so a kept connection that turns out to have been
closed while idle is replaced once without a word; that is no failure of the server.
"""

from __future__ import annotations

from .clock import now_ms
from .connection import TimedOut, dial, poll_wait
from .endpoint import Endpoint, proxy_for
from .errors import NoAnswer, UsageError
from .http1 import Nonsense, Response, ResponseReader, format_request
from .resolver import Resolver

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from .connection import Address, Connection, Wait

__all__ = ["Link", "Response", "TimedOut", "connected_by", "poll_wait"]

_LEAST_CONNECT_MS = 1_000
_MOST_CONNECT_MS = 5_000


class Link:
    """The way to one server, through a proxy where the environment says so.

    ``wait`` is described in ``connection``; whatever else it raises aborts the request, drops
    the connection and goes through to the caller. Raises ``UsageError`` for a URL or proxy
    setting that cannot work.
    """

    def __init__(
        self,
        url: str,
        ca_file: str = "",
        environ: Mapping[str, str] | None = None,
        wait: Wait = poll_wait,
    ) -> None:
        try:
            self._server = Endpoint.parse(url)
            self._proxy = proxy_for(self._server, environ or {})
        except ValueError as error:
            raise UsageError(str(error)) from None
        self.url = url
        self._ca_file = ca_file
        self._wait = wait
        self._first_hop = self._proxy or self._server
        self._resolver = Resolver(self._first_hop.host, self._first_hop.port)
        self._addresses: list[Address] = []
        self._are_doubtful = True
        self._context: ssl.SSLContext | None = None
        self._connection: Connection | None = None
        self._doing = ""
        self.has_sent = False
        """Whether anything of the last request may have reached the server."""

    def request(
        self,
        method: str,
        path: str,
        headers: list[tuple[str, str]],
        body: bytes,
        until_ms: int,
        *,
        connected_by_ms: int | None = None,
    ) -> Response:
        """Send one request and return its response, of whatever status.

        ``connected_by_ms`` is when a new connection must be ready for it, TLS included, if that is
        before ``until_ms``. Raises ``NoAnswer``, whose text names the hop that failed and what to
        do.
        """
        began_ms = now_ms()
        if connected_by_ms is None or connected_by_ms > until_ms:
            connected_by_ms = until_ms
        data = self._format(method, path, headers, body)
        self.has_sent = answered = False
        try:
            response = self._ask(data, connected_by_ms, until_ms)
            answered = response.keep
        except TimedOut:
            limit_ms = connected_by_ms if self._connection is None else until_ms
            waited = f"{(limit_ms - began_ms) / 1000:.1f} s"
            raise NoAnswer(f"{self._doing} took longer than {waited}") from None
        finally:
            # After a time-out too: a retry on the old connection would wait for the back-off of
            # its TCP, which can outlive the outage that caused it.
            if not answered:
                self._drop()
        return response

    def close(self) -> None:
        """Close the kept connection. The link can be used again."""
        self._drop()
        self._resolver.close()

    def _ask(self, data: bytes, connected_by_ms: int, until_ms: int) -> Response:
        if self._connection is not None:
            response = self._exchange(self._connection, data, until_ms, is_kept=True)
            if response is not None:
                return response
            self._drop()
        self._connection = self._open(connected_by_ms)
        response = self._exchange(self._connection, data, until_ms, is_kept=False)
        if response is None:
            raise NoAnswer(
                f"{self.name} closed the connection without an answer{self._scheme_hint()}"
            )
        return response

    def _exchange(
        self, connection: Connection, data: bytes, until_ms: int, *, is_kept: bool
    ) -> Response | None:
        """The response; ``None`` when the connection was closed before any of it came."""
        self._doing = f"the answer of {self.name}"
        reader = ResponseReader()
        self.has_sent = True
        try:
            connection.send(data, until_ms)
        except OSError as error:
            if is_kept:
                return None
            # An answer may have come before the connection broke ("413, I read no more").
            self._doing = f"sending to {self.name} ({error.strerror})"
        try:
            while reader.response is None:
                received = connection.receive(until_ms)
                if not received:
                    if not reader.began:
                        return None
                    reader.end()
                reader.feed(received)
        except Nonsense as error:
            raise NoAnswer(f"{self.name} sent nonsense: {error}") from None
        except OSError as error:
            if is_kept and not reader.began:
                return None
            hint = "" if reader.began else self._scheme_hint()
            raise NoAnswer(f"the connection to {self.name} broke: {_reason(error)}{hint}") from None
        response = reader.response
        if reader.has_excess:
            response.keep = False
        return response

    def _open(self, until_ms: int) -> Connection:
        if self._server.scheme == "http":
            return self._dial_first_hop(until_ms)
        from . import tls  # noqa: PLC0415 - ssl only where TLS is spoken

        if self._context is None:
            self._context = tls.make_context(self._ca_file)
        try:
            return self._open_secure(self._context, until_ms)
        except tls.Untrusted:
            if self._ca_file or not tls.trust_the_whole_system(self._context):
                raise
        return self._open_secure(self._context, until_ms)

    def _open_secure(self, context: ssl.SSLContext, until_ms: int) -> Connection:
        from . import tls  # noqa: PLC0415 - see above

        connection = self._dial_first_hop(until_ms)
        complete = False
        try:
            if self._proxy is not None:
                self._open_tunnel(connection, self._proxy, until_ms)
            self._doing = f"the TLS handshake with {self._server.address}"
            connection = tls.TlsConnection.over(connection, context, self._server.host, until_ms)
            complete = True
        except OSError as error:
            raise tls.failure(self._server.address, error) from None
        finally:
            if not complete:
                connection.close()
        return connection

    def _dial_first_hop(self, until_ms: int) -> Connection:
        addresses = self._look_up(until_ms)
        trouble = ""
        self._are_doubtful = True
        for index, address in enumerate(addresses):
            self._doing = f"connecting to {self._hop_named()}"
            time_left_ms = until_ms - now_ms()
            share_ms = time_left_ms // (len(addresses) - index)
            try:
                connection = dial(address, self._wait, until_ms - time_left_ms + share_ms)
            except OSError as error:
                trouble = _reason(error)
                continue
            except TimedOut:
                if index == len(addresses) - 1:
                    raise
                trouble = "no answer"
                continue
            self._addresses = [address, *(a for a in addresses if a != address)]
            self._are_doubtful = False
            return connection
        raise NoAnswer(
            f"{self._hop_named()} cannot be reached ({trouble}): "
            "is it running there, and are host and port right?"
        )

    def _look_up(self, until_ms: int) -> list[Address]:
        """The addresses that worked before, as long as they work: DNS may be out meanwhile."""
        if self._addresses and not self._are_doubtful:
            return self._addresses
        self._doing = f"looking up the name {self._first_hop.host}"
        if not self._addresses:
            return self._resolver.lookup(self._wait, until_ms)
        started_ms = now_ms()
        try:
            return self._resolver.lookup(self._wait, started_ms + (until_ms - started_ms) // 3)
        except (NoAnswer, TimedOut):
            return self._addresses

    def _open_tunnel(self, connection: Connection, proxy: Endpoint, until_ms: int) -> None:
        self._doing = f"the answer of {self._hop_named()}"
        headers = [("Host", self._server.address), *_authorization(proxy)]
        reader = ResponseReader(tunnel=True)
        try:
            connection.send(format_request("CONNECT", self._server.address, headers, b""), until_ms)
            while reader.response is None:
                received = connection.receive(until_ms)
                if not received:
                    reader.end()
                reader.feed(received)
        except Nonsense as error:
            raise NoAnswer(f"{self._hop_named()} sent nonsense: {error}") from None
        except OSError as error:
            raise NoAnswer(
                f"the connection to {self._hop_named()} broke: {_reason(error)}"
            ) from None
        status = reader.response.status
        if not 200 <= status < 300:
            raise NoAnswer(refused_by_proxy(self._hop_named(), status, self._server.address))

    def _format(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
        target = f"{self._server.prefix}{path}"
        sent = [("Host", self._server.authority), *headers]
        if self._proxy is not None and self._server.scheme == "http":
            target = f"http://{self._server.authority}{target}"
            sent.extend(_authorization(self._proxy))
        return format_request(method, target, sent, body)

    def _scheme_hint(self) -> str:
        # Most TLS servers simply hang up on a request in plain text.
        return "" if self._server.scheme == "https" else "; if it speaks TLS there, use https://"

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def name(self) -> str:
        """``HOST:PORT`` of the server and how it is reached, for messages."""
        via = f" (through the proxy {self._proxy.address})" if self._proxy is not None else ""
        return f"{self._server.address}{via}"

    def _hop_named(self) -> str:
        if self._proxy is not None:
            return f"the proxy {self._proxy.address}"
        return self._server.address

    @property
    def proxy_name(self) -> str:
        """``the proxy HOST:PORT``, empty where there is none."""
        return self._hop_named() if self._proxy is not None else ""


def connected_by(until_ms: int, links_left: int) -> int:
    """By when one of the ``links_left`` that may still be tried must be connected.

    Its share of the time: a server whose packets vanish must not hide the next one. But a second at
    least: where the time is short, a share of it would be too short for any of them. The last one
    has all that is left.
    """
    now = now_ms()
    left_ms = until_ms - now
    share_ms = left_ms // links_left
    if links_left > 1:
        share_ms = max(_LEAST_CONNECT_MS, min(share_ms, _MOST_CONNECT_MS))
    return now + min(left_ms, share_ms)


def refused_by_proxy(proxy: str, status: int, target: str) -> str:
    """What a proxy's refusal means for whoever has to ask for a change."""
    if status == 407:
        return f"{proxy} wants a user name and password (407): put them into the proxy variable"
    return f"{proxy} refused the way to {target} ({status}): ask for it to be allowed"


def _authorization(proxy: Endpoint) -> list[tuple[str, str]]:
    if not proxy.user:
        return []
    import binascii  # noqa: PLC0415 - few proxies want a password

    pair = f"{proxy.user}:{proxy.password}".encode()
    encoded = binascii.b2a_base64(pair, newline=False).decode()
    return [("Proxy-Authorization", f"Basic {encoded}")]


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
