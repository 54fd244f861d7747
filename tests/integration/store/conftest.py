"""The scripts on real servers: each test runs on every one that is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lessor_daemon.store.store import Store
from support.organization import Organization
from support.redis_server import available_servers, start_redis
from support.stored import assert_consistent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from support.redis_server import RedisServer


@pytest.fixture(scope="session", params=sorted(available_servers()))
def redis_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    binary = available_servers()[request.param]
    server = start_redis(binary, tmp_path_factory.mktemp(request.param))
    yield server
    server.stop()


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[Store]:
    """An empty store; afterwards only keys that may be there, and all of them in agreement."""
    opened = Store.open(redis_server.url)
    await opened.redis.flushall()
    yield opened
    await assert_consistent(opened)
    await opened.close()


@pytest.fixture
async def acme(store: Store) -> Organization:
    """An organization with 2 seats on 2 machines."""
    organization = Organization(store)
    await organization.set_quota(2, 2)
    return organization
