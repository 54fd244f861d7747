"""The script ``news``: what holders are to be told before they renew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack

from . import lua
from .scripts import read_reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .scripts import Context, Reading
    from .store import Store

_NEWS = lua.load("news")

MOST_AT_ONCE = 500

if TYPE_CHECKING:
    News = str | dict[str, object] | None
    """Why a lease is lost or ``unknown``, as of ``scripts.renew``; or a notice; or nothing."""


async def news(
    store: Store, org: str, context: Context, lease_ids: Sequence[bytes]
) -> tuple[Reading, list[News]]:
    """What is new about 1 to 500 leases, in order."""
    _, reading, (results,) = read_reply(await store.call(_NEWS, org, [context.words(), *lease_ids]))
    return reading, [_news(one) for one in results]


def _news(result: int | bytes | list[Any]) -> News:
    if isinstance(result, list):
        notice: dict[str, object] = msgpack.unpackb(result[0])
        return notice
    return result.decode() if isinstance(result, bytes) else None
