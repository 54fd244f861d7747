"""Fixtures for tests that start ``lessor run`` against the fake server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .fake_server import FakeServer
from .lessor_run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A fake server with five seats and a ttl of three seconds."""
    fake = FakeServer()
    yield fake
    fake.close()


@pytest.fixture
def start(server: FakeServer, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Starts ``lessor run`` with these arguments; whatever is left of it ends with the test."""
    runs: list[Run] = []

    def start_run(*arguments: str, **more: Any) -> Run:  # noqa: ANN401 - Run's own
        runs.append(Run(tmp_path, more.pop("url", server.url), *arguments, **more))
        return runs[-1]

    yield start_run
    for run in runs:
        run.end()
