"""TLS on a connection. Loaded for ``https://`` only: ``ssl`` is a tenth of a test's start."""

from __future__ import annotations

import select
import ssl

from .connection import Connection
from .errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    A = TypeVar("A")
    T = TypeVar("T")


def make_context(ca_file: str) -> ssl.SSLContext:
    """Verify the server against ``ca_file`` alone, or against the system's certificates.

    Raises ``UsageError`` for a file that holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if not ca_file:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError:
        raise UsageError(f"{ca_file} (SSL_CERT_FILE or ca_file) holds no PEM certificate") from None
    except OSError as error:
        raise UsageError(
            f"{ca_file} (SSL_CERT_FILE or ca_file) cannot be read: {error.strerror}"
        ) from None
    return context


class TlsConnection(Connection):
    """A connection with TLS on it."""

    sock: ssl.SSLSocket

    @classmethod
    def over(
        cls, plain: Connection, context: ssl.SSLContext, host: str, until_ms: int
    ) -> TlsConnection:
        """Do the handshake as ``host``'s client. Raises ``OSError`` or ``TimedOut``."""
        secured = cls(
            context.wrap_socket(
                plain.sock,
                do_handshake_on_connect=False,
                # As bytes, because text would make Python load its IDNA tables.
                server_hostname=host.encode("ascii"),
            ),
            plain.wait,
        )
        complete = False
        try:
            secured._when_ready(secured.sock.do_handshake, False, select.POLLIN, until_ms)
            complete = True
            return secured
        finally:
            if not complete:
                secured.close()

    def _when_ready(self, call: Callable[[A], T], argument: A, _event: int, until_ms: int) -> T:
        # TLS may have to read in order to write, and the other way about.
        while True:
            try:
                return call(argument)
            except ssl.SSLWantReadError:
                self.wait(self.sock.fileno(), False, until_ms)
            except ssl.SSLWantWriteError:
                self.wait(self.sock.fileno(), True, until_ms)


def explain(error: OSError) -> str:
    """What a failed handshake means and what to do about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}): "
            "set SSL_CERT_FILE to the CA certificate to trust"
        )
    if isinstance(error, ssl.SSLError) and error.reason in (
        "WRONG_VERSION_NUMBER",
        "HTTP_REQUEST",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
    ):
        return "it does not speak TLS on this port: is it http:// ?"
    if isinstance(error, (ssl.SSLEOFError, ConnectionResetError)):
        return "it closed the connection during the TLS handshake"
    return (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or "TLS failed"
