"""The scripts on real servers: each test runs on every one that is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lessor_daemon.store.store import Store
from support.organization import Organization
from support.stored import assert_consistent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """An empty store; afterwards only keys that may be there, and all of them in agreement."""
    opened = Store.open(store_url)
    yield opened
    await assert_consistent(opened)
    await opened.close()


@pytest.fixture
async def acme(store: Store) -> Organization:
    """An organization with 2 seats on 2 machines."""
    organization = Organization(store)
    await organization.set_quota(2, 2)
    return organization
