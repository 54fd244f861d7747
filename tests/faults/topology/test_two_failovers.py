"""The master that took over dies as well, before anybody had time to settle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.holding import Holder

if TYPE_CHECKING:
    from support.topologies import SentinelGroup
    from support.topology_fixtures import Daemons


@pytest.mark.slow
def test_two_failovers_in_a_row_end_no_lease_and_no_token_goes_back(
    sentinel_group: SentinelGroup, daemons: Daemons
) -> None:
    # Sentinels that split their votes try again 4 s later; a ttl has room for several tries.
    daemon = daemons.start(sentinel_group.url, ttl="20s")
    holder = Holder(daemons.caller(daemon))
    assert holder.acquire().status == 201
    first = sentinel_group.servers[0]
    first.kill()
    second = sentinel_group.wait_for_another_than(first)
    # As soon as it serves and is followed, so that the last one can take over.
    holder.hold_until(
        lambda: int(second.client.info("replication")["connected_slaves"]) > 0,
        20,
        "the last replica to follow",
    )
    second.kill()
    other = Holder(daemons.caller(daemon))
    holder.hold_until(lambda: other.acquire().code == "recovering", 40, "the second recovery")
    holder.hold_until(lambda: other.acquire().code == "seats_exhausted", 60, "its end")
    assert holder.release().status == 204
    assert other.acquire().status == 201
    assert other.token > holder.token
