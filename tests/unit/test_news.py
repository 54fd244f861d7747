"""What daemons hear of leases is told organization by organization."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from lessor_daemon.leasing.news import News
from support.waiting import wait_until_async

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest
    from lessor_daemon.store.news import News as Found


class Carrier:
    """Of one lease."""

    def __init__(self, org: str) -> None:
        self.org = org
        self.lost: list[object] = []

    def tell_lost(self, lost: object) -> None:
        self.lost.append(lost)


async def test_one_whose_server_hangs_delays_nobodys_news(monkeypatch: pytest.MonkeyPatch) -> None:
    carriers = {bytes([n]) * 16: Carrier(org) for n, org in enumerate(("hangs", "goes", "hangs"))}
    told = News(cast("Any", None), cast("Any", None), max_ttl_ms=60_000)
    monkeypatch.setattr(told, "carriers", SimpleNamespace(of=carriers.get))
    asked: list[str] = []

    async def found(org: str, lease_ids: Sequence[bytes]) -> list[Found]:
        asked.append(org)
        if org == "hangs":
            await asyncio.Event().wait()
        return ["ended because"] * len(lease_ids)

    monkeypatch.setattr(told, "_news", found)
    telling = asyncio.create_task(told._tell_carriers())
    for lease_id in list(carriers)[:2]:
        told.heard(lease_id)
    goes = list(carriers.values())[1]
    await wait_until_async(lambda: asyncio.sleep(0, len(goes.lost) == 1), what="the first news")
    for lease_id in list(carriers)[1:]:
        told.heard(lease_id)
    await wait_until_async(lambda: asyncio.sleep(0, len(goes.lost) == 2), what="the next one")
    telling.cancel()
    await asyncio.wait([telling])
    assert asked.count("hangs") == 1, "it is under way"
