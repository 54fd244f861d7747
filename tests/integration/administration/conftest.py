"""A daemon with two organizations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.administration import BOOTSTRAP, Acme
from support.daemon import DaemonProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.daemon import MakeDaemon


@pytest.fixture
def acme(make_daemon: MakeDaemon) -> Acme:
    """A daemon of the test's own."""
    daemon = make_daemon(bootstrap=BOOTSTRAP)
    daemon.start()
    return Acme(daemon)


@pytest.fixture(scope="module")
def shared_acme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Acme]:
    """A daemon for tests that change nothing."""
    daemon = DaemonProcess(tmp_path_factory.mktemp("acme"), bootstrap=BOOTSTRAP)
    try:
        daemon.start()
        yield Acme(daemon)
    finally:
        daemon.end()
