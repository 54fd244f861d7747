"""Real servers for the scripts that are compared with their model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.redis_server import available_servers, start_redis

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.redis_server import RedisServer


@pytest.fixture(scope="session", params=sorted(available_servers()))
def redis_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    """Valkey, and Redis where it is installed."""
    binary = available_servers()[request.param]
    server = start_redis(binary, tmp_path_factory.mktemp(request.param))
    yield server
    server.stop()
