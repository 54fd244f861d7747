"""What the tests of ``lessor.AsyncClient`` share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lessor

from .daemon import BOOTSTRAP

if TYPE_CHECKING:
    from .daemon import DaemonProcess, MakeDaemon


def client_of(daemon: DaemonProcess, key: str = "ci", *, url: str = "") -> lessor.AsyncClient:
    """A client of this daemon that knows its machine by name."""
    return lessor.AsyncClient(url or daemon.url, daemon.key(key), machine="machine-1")


def licensed(
    make_daemon: MakeDaemon, *options: str, seats: int, ttl: str = "30s", **environ: str
) -> DaemonProcess:
    """A started daemon whose license has so many seats and this ttl."""
    terms = f'name = "kre"\nseats = {seats}\nttl = "{ttl}"'
    bootstrap = BOOTSTRAP.replace('name = "kre"\nseats = 2\nttl = "30s"', terms)
    daemon = make_daemon(*options, bootstrap=bootstrap, **environ)
    daemon.start()
    return daemon


def live(daemon: DaemonProcess) -> list[str]:
    """The ids of all leases."""
    items = daemon.caller("admin").call("GET", "/v1/leases?limit=500").body["items"]
    return [one["id"] for one in items]
