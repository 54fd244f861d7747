"""A store behind TLS, with a certificate of a private authority."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import trustme
from support.topologies import free_ports
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.daemon import MakeDaemon


def tls_server() -> str | None:
    """A server on PATH that was built with TLS; the bundled one is not."""
    for name in ("redis-server", "valkey-server"):
        binary = shutil.which(name)
        if binary is None:
            continue
        # It cannot start either way; only one with TLS says that a certificate is missing.
        asked = [binary, "--port", "0", "--tls-port", "1", "--save", ""]
        said = subprocess.run(asked, capture_output=True, check=False, timeout=10, cwd="/").stdout
        if b"tls-cert-file" in said:
            return binary
    return None


class TlsStore:
    """A server that speaks TLS only, and the file with the authority that vouches for it."""

    def __init__(self, binary: str, directory: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        self.authority_file = directory / "authority.pem"
        authority.cert_pem.write_to_path(self.authority_file)
        certificate = directory / "server.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(certificate)
        (self._port,) = free_ports(1)
        self.process = subprocess.Popen(
            [
                binary,
                *("--port", "0", "--tls-port", str(self._port), "--bind", "127.0.0.1"),
                *("--tls-cert-file", str(certificate), "--tls-key-file", str(certificate)),
                *("--tls-ca-cert-file", str(self.authority_file), "--tls-auth-clients", "no"),
                *("--dir", str(directory), "--save", "", "--requirepass", "hunter2"),
            ],
            stdout=subprocess.DEVNULL,
        )

    def url(self, *, host: str = "localhost", query: str = "") -> str:
        return f"rediss://:hunter2@{host}:{self._port}/0{query}"


@pytest.fixture
def tls_store(tmp_path: Path) -> Iterator[TlsStore]:
    binary = tls_server()
    if binary is None:
        pytest.skip("no server on PATH speaks TLS")
    directory = tmp_path / "tls"
    directory.mkdir()
    store = TlsStore(binary, directory)
    yield store
    store.process.kill()
    store.process.wait()


def test_a_store_whose_authority_is_named_is_used(
    tls_store: TlsStore, make_daemon: MakeDaemon
) -> None:
    url = tls_store.url(query=f"?ssl_ca_certs={tls_store.authority_file}")
    daemon = make_daemon("--new-store", LESSOR_STORE=url)
    daemon.start()
    assert daemon.caller("ci").acquire().status == 201
    assert "hunter2" not in daemon.log_path.read_text()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_store_that_nobody_known_vouches_for_by_this_name_is_not_used(
    tls_store: TlsStore, make_daemon: MakeDaemon, host: str
) -> None:
    query = f"?ssl_ca_certs={tls_store.authority_file}" if host == "127.0.0.1" else ""
    daemon = make_daemon("--new-store", LESSOR_STORE=tls_store.url(host=host, query=query))
    daemon.start(until="store_unavailable")
    (line, *_) = daemon.events("store_unavailable")
    assert "certificate" in line["reason"].lower()
    wait_until(lambda: tls_store.process.poll() is None, what="the server to be alive all the same")
