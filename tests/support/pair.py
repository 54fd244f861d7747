"""Two daemons on one store."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from .daemon import DaemonProcess
from .redis_server import available_servers, start_redis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def pair_of_daemons(directory: Path, bootstrap: str) -> Iterator[tuple[DaemonProcess, ...]]:
    """Both started. The bootstrap's keys should have a ``secret``: each has files of its own."""
    server = start_redis(available_servers()["valkey"], directory)
    made: list[DaemonProcess] = []
    try:
        for name in ("here", "there"):
            home = directory / name
            home.mkdir()
            options = ("--store", server.url, "--new-store")
            secret = ("--secret-file", str(directory / "secret"))
            made.append(DaemonProcess(home, *options, *secret, bootstrap=bootstrap))
            made[-1].start()
        yield tuple(made)
    finally:
        for daemon in made:
            daemon.end()
        server.stop()
