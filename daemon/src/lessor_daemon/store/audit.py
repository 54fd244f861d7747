"""The streams that keep the changes of administration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


async def entries(
    store: Store, org: str, *, before: str, since: str, about: int
) -> list[tuple[str, dict[str, Any]]]:
    """Up to ``about`` entries with their ids, the newest first; the bounds are stream ids."""
    found = await store.attempt(
        lambda: store.redis.xrevrange(keys.audit(org), max=before, min=since, count=about)
    )
    return [(entry_id.decode(), msgpack.unpackb(fields[b"entry"])) for entry_id, fields in found]
