"""The streams that keep what happened: changes of administration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgpack

from . import keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .store import Store

OPERATOR_ENTRIES_KEPT = 10_000


async def append_operator(store: Store, entry: Mapping[str, object]) -> None:
    """Write down what the operator did."""
    packed = msgpack.packb(entry)
    await store.attempt(
        lambda: store.redis.xadd(
            keys.audit(""), {"entry": packed}, maxlen=OPERATOR_ENTRIES_KEPT, approximate=True
        )
    )
