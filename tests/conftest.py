"""Fixtures that all tests share."""

from __future__ import annotations

import signal
import socket
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from blockbuster import BlockBuster
from hypothesis import HealthCheck, settings
from support.daemon import DaemonProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.daemon import MakeDaemon

# How long an example takes says something about a busy machine, nothing about the code.
settings.register_profile("lessor", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lessor")

# Who starts the tests in the background may have these ignored, and children inherit that: a
# command under test would never hear the Ctrl-C it is sent.
signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(_number, signal.SIG_DFL)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files begin first, so that no worker is left with one when the others are done."""
    tests = Counter(item.path for item in items)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, -tests[item.path]))


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[None]:
    """A blocking call inside an event loop fails the test that made it."""
    blockbuster = BlockBuster(["lessor_daemon"])
    blockbuster.activate()
    try:
        yield
    finally:
        blockbuster.deactivate()


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[MakeDaemon]:
    """Makes daemons, not started yet, and ends them with the test."""
    made: list[DaemonProcess] = []

    def make(*options: str, **more: str) -> DaemonProcess:
        directory = tmp_path / f"daemon-{len(made)}"
        directory.mkdir()
        made.append(DaemonProcess(directory, *options, **more))
        return made[-1]

    yield make
    for daemon in made:
        daemon.end()


@pytest.fixture
def own_daemon(make_daemon: MakeDaemon) -> DaemonProcess:
    """A daemon on the embedded store that serves the organizations of ``support.daemon``."""
    made = make_daemon()
    made.start()
    return made


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
