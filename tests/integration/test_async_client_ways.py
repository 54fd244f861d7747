"""The stream over TLS, through a proxy, and both."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme
from support.async_clients import client_of, live
from support.relay import join, listening
from support.waiting import wait_until_async

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import lessor
    from support.daemon import DaemonProcess


BEHIND_PROXY = "lessor.example"
"""A name that only the proxy can find."""


@contextlib.asynccontextmanager
async def tls_in_front_of(port: int, authority: trustme.CA) -> AsyncIterator[int]:
    """A port that speaks TLS, as a load balancer does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", BEHIND_PROXY).configure_cert(context)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await join(reader, writer, ("127.0.0.1", port))

    async with listening(relay, tls=context) as front:
        yield front


@contextlib.asynccontextmanager
async def proxy(asked: list[str]) -> AsyncIterator[int]:
    """A proxy that knows CONNECT, and that all names mean this machine; it notes them."""

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        asked.append(f"{method} {target}")
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await join(reader, writer, ("127.0.0.1", int(target.rpartition(":")[2])))

    async with listening(tunnel) as front:
        yield front


async def hold_on_a_stream(daemon: DaemonProcess, client: lessor.AsyncClient) -> None:
    """Hold a lease until the daemon has renewed it over a stream."""
    async with client, client.acquire("kre") as lease:
        assert live(daemon) == [lease.id]

        async def has_stream() -> bool:
            opened = client._open
            return opened is not None and opened._calls._link.is_stream

        await wait_until_async(has_stream, what="the stream")
        async with client.acquire("kre"):
            assert len(live(daemon)) == 2
    assert live(daemon) == []


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], trustme.CA]:
    """An authority that clients trust."""

    def make() -> trustme.CA:
        authority = trustme.CA()
        path = tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(str(path))
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        return authority

    return make


async def test_the_stream_works_over_tls(
    daemon: DaemonProcess, trusted: Callable[[], trustme.CA]
) -> None:
    inner = int(daemon.url.rpartition(":")[2])
    async with tls_in_front_of(inner, trusted()) as port:
        await hold_on_a_stream(daemon, client_of(daemon, url=f"https://127.0.0.1:{port}"))


async def test_the_stream_works_through_a_proxy_to_tls(
    daemon: DaemonProcess, trusted: Callable[[], trustme.CA], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    inner = int(daemon.url.rpartition(":")[2])
    async with tls_in_front_of(inner, trusted()) as port, proxy(asked) as through:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{through}")
        await hold_on_a_stream(daemon, client_of(daemon, url=f"https://{BEHIND_PROXY}:{port}"))
        assert f"CONNECT {BEHIND_PROXY}:{port}" in asked
