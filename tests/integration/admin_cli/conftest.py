"""The administration on the command line, with real keys of every role against a real daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.administration import BOOTSTRAP
from support.command_line import Shell
from support.daemon import DaemonProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon whose organization each test leaves as it found it."""
    daemon = DaemonProcess(tmp_path_factory.mktemp("acme"), bootstrap=BOOTSTRAP)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.end()


@pytest.fixture
def shell(shared: DaemonProcess, tmp_path: Path) -> Shell:
    """The owner's shell."""
    return Shell(tmp_path, shared)
