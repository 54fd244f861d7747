"""What is kept about the holders of leases, for people to see."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgpack
from lessor_protocol import codec, timing
from lessor_protocol.messages import Lease, Machine, Process
from lessor_protocol.queued import Holder

from lessor_daemon.shared_reads import SharedReads
from lessor_daemon.store import leases, offline
from lessor_daemon.store.errors import store_problems
from lessor_daemon.store.scripts import Proven
from lessor_daemon.times import wall_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from lessor_protocol.messages import AcquireRequest

    from lessor_daemon.store.leases import LeaseRecord
    from lessor_daemon.store.offline import OfflineRecord
    from lessor_daemon.store.store import Store

    from .certificate import Claims


HOLDERS_SHOWN = 50
COMMAND_SHOWN = 256
LABEL_BYTES_SHOWN = 3_072
"""As JSON. All holders together go to everybody who waits, again and again: they are to weigh some
hundred kilobytes at most, where one alone may have labels of forty. A session shows them whole."""
HOLDERS_KEPT_MS = 1_000
"""Those who wait ask often; who holds the seats is read at most once a second per license."""
MOST_LICENSES_KEPT = 1_000


class Holders:
    """Who holds the seats of each license, as read a moment ago."""

    def __init__(self, store: Store, boottime_ms: Callable[[], int]) -> None:
        self._store = store
        self._boottime_ms = boottime_ms
        self._kept: dict[tuple[str, str], tuple[int, list[Holder]]] = {}
        self._reads: SharedReads[tuple[str, str], list[Holder]] = SharedReads()

    async def of(self, org: str, license: str) -> list[Holder]:
        """Up to ``HOLDERS_SHOWN``, drawn at random, and as many offline licenses.

        Raises ``Problem`` ``store_unavailable``.
        """
        read_ms, found = self._kept.get((org, license), (None, []))
        if read_ms is not None and self._boottime_ms() - read_ms < HOLDERS_KEPT_MS:
            return found
        return await self._reads.read((org, license), partial(self._read, org, license))

    async def _read(self, org: str, license: str) -> list[Holder]:
        now_ms = self._boottime_ms()
        with store_problems():
            records = await leases.holders(self._store, org, license, HOLDERS_SHOWN)
            files = await offline.holding(self._store, org, license, HOLDERS_SHOWN)
        found = [to_holder(record) for record in records if not record.offered]
        found += [_offline_holder(record) for record in files]
        if len(self._kept) >= MOST_LICENSES_KEPT:
            self._kept.clear()
        self._kept[org, license] = (now_ms, found)
        return found


def pack_holder(request: AcquireRequest, key_id: str) -> bytes:
    """The parts of an acquire that the scripts do not look into, but for the machine's name."""
    machine, process = request.machine, request.process
    packed: bytes = msgpack.packb(
        (
            machine.name,
            machine.ephemeral,
            process.pid,
            process.command,
            process.user,
            request.labels,
            key_id,
        )
    )
    return packed


def to_lease(record: LeaseRecord, *, certificate: str = "") -> Lease:
    """A stored lease as the wire shows it."""
    machine, process, labels = _unpack(record)
    return Lease(
        lease_id=record.lease_id,
        license=record.license,
        token=record.token,
        ttl_ms=record.ttl_ms,
        renew_after_ms=timing.renew_after_ms(record.ttl_ms),
        granted_at=wall_text(record.granted_at_wall_ms),
        certificate=certificate,
        machine=machine,
        process=process,
        labels=labels,
        seats=record.seats,
    )


def to_holder(record: LeaseRecord) -> Holder:
    """A stored lease as those who wait see it."""
    machine, process, labels = _unpack(record)
    return Holder(
        user=process.user or record.owner.partition(":")[2],
        machine=machine.name or machine.id,
        command=_shortened(process.command),
        labels=_first_labels(labels),
        since=wall_text(record.granted_at_wall_ms),
        seats=record.seats,
    )


def _shortened(command: str) -> str:
    return command if len(command) <= COMMAND_SHOWN else command[: COMMAND_SHOWN - 1] + "…"


def _first_labels(labels: dict[str, str]) -> dict[str, str]:
    """Those from the first on that weigh no more than is shown."""
    shown: dict[str, str] = {}
    left = LABEL_BYTES_SHOWN
    for name, text in labels.items():
        left -= len(codec.encode({name: text}, codec.JSON))
        if left < 0:
            break
        shown[name] = text
    return shown


def _offline_holder(record: OfflineRecord) -> Holder:
    return Holder(
        user=record.issued_by,
        machine=record.machine,
        command="offline license",
        labels={},
        since=wall_text(record.issued * 1000),
        seats=record.seats,
    )


def _unpack(record: LeaseRecord) -> tuple[Machine, Process, dict[str, str]]:
    name, ephemeral, pid, command, user, labels, _key_id = msgpack.unpackb(record.holder)
    return (
        Machine(record.machine, name, ephemeral=ephemeral),
        Process(pid, command, user),
        labels,
    )


def to_proven(claims: Claims) -> Proven:
    """A lease to put back. The certificate does not say what runs: that shows as unknown."""
    holder: bytes = msgpack.packb(("", claims.ephemeral, 0, "(unknown)", "", {}, claims.key_id))
    return Proven(
        lease_id=claims.lease_id,
        license=claims.license,
        machine=claims.machine,
        ephemeral=claims.ephemeral,
        token=claims.token,
        ttl_ms=claims.ttl_ms,
        fingerprint=claims.fingerprint,
        owner=claims.owner,
        holder=holder,
        seats=claims.seats,
        group=claims.group,
        named=claims.named,
    )
