"""Facts: what administration said last about one thing each, as the store keeps them.

A fact has a name such as ``seats kre``, the version of the change that said it, and a value, empty
for "no more". The scripts write facts in the same step as the change; every daemon reads and
remembers them, and says them again to a store that forgot, see ``directory/reassertion.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack

from . import keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .store import Store

    Facts = Mapping[str, tuple[int, bytes]]
    """Name → version and value; version 0 is that of the change which says it."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One, as it was said at ``version``."""

    name: str
    version: int
    value: bytes


def pack(facts: Facts) -> bytes:
    """As the scripts take them."""
    if not facts:
        return b""
    # The scripts' msgpack is the old one, which has no type for bytes beside strings.
    packed: bytes = msgpack.packb(
        {name: list(fact) for name, fact in facts.items()}, use_bin_type=False
    )
    return packed


async def versions(store: Store, org: str, names: Iterable[str]) -> dict[str, int]:
    """Of these names, those that something was said of, with the versions it was said at."""
    names = list(names)
    if not names:
        return {}
    found = await store.attempt(lambda: store.redis.zmscore(keys.facts_at(org), names))
    return {
        name: int(version)
        for name, version in zip(names, found, strict=True)
        if version is not None
    }


async def since(store: Store, org: str, version: int) -> list[Fact]:
    """Those said after ``version``, the oldest first."""
    names = await store.attempt(
        lambda: store.redis.zrangebyscore(keys.facts_at(org), f"({version}", "+inf")
    )
    if not names:
        return []
    found = await store.attempt(lambda: store.redis.hmget(keys.facts(org), names))
    return [_fact(name, packed) for name, packed in zip(names, found, strict=True) if packed]


async def fact(store: Store, org: str, name: str) -> Fact | None:
    """One, by its name."""
    packed = await store.attempt(lambda: store.redis.hget(keys.facts(org), name))
    return _fact(name.encode(), packed) if packed else None


def _fact(name: bytes, packed: Any) -> Fact:  # noqa: ANN401  # redis has no types for replies
    version, value = msgpack.unpackb(packed, raw=True)
    return Fact(name.decode(), version, value)
