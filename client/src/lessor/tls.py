"""TLS on a connection. Loaded for ``https://`` only: ``ssl`` is a tenth of a test's start."""

from __future__ import annotations

import os
import select
import ssl

from .connection import Connection
from .errors import NoAnswer, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    A = TypeVar("A")
    T = TypeVar("T")


_NOT_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
)


_NOT_YET_VALID, _EXPIRED = 9, 10
_OTHER_NAME, _OTHER_ADDRESS = 62, 64
"""OpenSSL's codes (``X509_V_ERR_…``) of what no other CA certificate would change."""


def make_context(ca_file: str) -> ssl.SSLContext:
    """Verify the server against ``ca_file`` alone, or against the system's certificates.

    Raises ``UsageError`` for a file that holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if not ca_file:
        _trust_the_system(context)
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


def _trust_the_system(context: ssl.SSLContext) -> None:
    """Trust the system's certificates, without reading them all where they lie in a directory.

    OpenSSL then reads the one it needs; reading a bundle of 140 takes 40 ms each time.
    """
    capath = ssl.get_default_verify_paths().capath
    if capath and _holds_certificates(capath):
        context.load_verify_locations(capath=capath)
    else:
        context.load_default_certs()


def _holds_certificates(directory: str) -> bool:
    """Whether they can be seen to lie there under the names by which OpenSSL looks for them."""
    try:
        return any(name.endswith(".0") for name in os.listdir(directory))  # noqa: PTH208 - light
    except OSError:
        return False


def trust_the_whole_system(context: ssl.SSLContext) -> bool:
    """Read the system's bundle too; whether that is news.

    For the rare system whose directory does not hold all that its bundle does.
    """
    before = context.cert_store_stats()["x509_ca"]
    context.load_default_certs()
    return context.cert_store_stats()["x509_ca"] > before


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


class Untrusted(NoAnswer):
    """The server's certificate is not one that we trust for its name."""


def failure(address: str, error: OSError) -> NoAnswer:
    """What a failed handshake means and what to do about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Untrusted(f"no TLS with {address}: {_why_untrusted(error)}")
    return NoAnswer(f"no TLS with {address}: {_explain(error)}")


def is_authority_unknown(error: OSError) -> bool:
    """Whether another CA certificate could help."""
    return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code not in (
        _NOT_YET_VALID,
        _EXPIRED,
        _OTHER_NAME,
        _OTHER_ADDRESS,
    )


def _why_untrusted(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
        return "its certificate is for other names: put one of those into LESSOR_URL"
    if error.verify_code == _EXPIRED:
        return "its certificate has expired, or the clock here is wrong"
    if error.verify_code == _NOT_YET_VALID:
        return "its certificate is not valid yet, or the clock here is wrong"
    return (
        f"its certificate is not trusted ({error.verify_message}): "
        "set SSL_CERT_FILE to the CA certificate to trust"
    )


def _explain(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
        return "it does not speak TLS on this port: is it http:// ?"
    if isinstance(error, (ssl.SSLEOFError, ConnectionResetError)):
        return "it closed the connection during the TLS handshake"
    return (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or "TLS failed"
