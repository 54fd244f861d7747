"""Fixtures of all tests against a real daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.daemon import DaemonProcess

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One daemon for tests of a file that leave nothing behind. It logs no mistake of its own."""
    made = DaemonProcess(tmp_path_factory.mktemp("daemon"))
    try:
        made.start()
        yield made
        errors = [line for line in made.log_lines() if line["level"] in ("error", "critical")]
        assert made.stop() == 0
        assert errors == []
    finally:
        made.end()
