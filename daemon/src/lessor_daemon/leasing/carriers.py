"""Which stream carries which lease: an index that costs a renewal next to nothing.

Each renewal enters its leases anew, so nothing has to be taken out when a lease ends, moves to
another stream or daemon, or when a stream closes: two generations are kept, and what was not
renewed for one of them goes with it. Streams are referred to weakly; one without leases costs
nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import weakref
    from collections.abc import Iterable

    from lessor_protocol.messages import Lost


class Carrier(Protocol):
    """A connection that renews leases of one organization. What it is told must not raise."""

    @property
    def org(self) -> str: ...
    def tell_lost(self, lost: Lost) -> None: ...
    def tell_notice(self, notice: dict[str, object]) -> None: ...


class Carriers:
    """The carrier of each lease, of the last one that granted or renewed it."""

    def __init__(self) -> None:
        self._young: dict[bytes, weakref.ref[Carrier]] = {}
        self._old: dict[bytes, weakref.ref[Carrier]] = {}

    def enter(self, lease_ids: Iterable[bytes], carrier: weakref.ref[Carrier]) -> None:
        """These were granted or renewed over ``carrier``."""
        young = self._young
        for lease_id in lease_ids:
            young[lease_id] = carrier

    def of(self, lease_id: bytes) -> Carrier | None:
        """Who carries this lease, if anybody here does."""
        reference = self._young.get(lease_id) or self._old.get(lease_id)
        return None if reference is None else reference()

    def forget(self) -> None:
        """Drop what was not entered since the last call. Not to be called within one ttl."""
        self._old, self._young = self._young, {}
