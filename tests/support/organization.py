"""One organization on a real store, driven script by script, with time as an argument."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgpack
from lessor_daemon.leasing.clock import LeaseClock
from lessor_daemon.store import changes, news, scripts, sessions

if TYPE_CHECKING:
    from lessor_daemon.store.changes import QuotaAnswer
    from lessor_daemon.store.news import News
    from lessor_daemon.store.scripts import (
        Ended,
        InLine,
        NotGranted,
        Proven,
        Reading,
        Released,
        Renewed,
        SeatGranted,
    )
    from lessor_daemon.store.store import Store

EPOCH_FLOOR = 200_000_000
TTL_MS = 30_000
MARGIN_MS = 3_000
LEASE_MS = TTL_MS + MARGIN_MS + TTL_MS // 500
"""How long a lease lasts on the server without a renewal."""
RECOVERY_MS = 63_120
OWNER = "key:test"


def lease_id(number: int) -> bytes:
    """A readable id."""
    return number.to_bytes(16, "big")


def proven(number: int, seat: scripts.SeatGranted, *, machine: str = "m1") -> scripts.Proven:
    """What the certificate of a seat says."""
    return scripts.Proven(
        lease_id=lease_id(number),
        license="kre",
        machine=machine,
        ephemeral=False,
        token=seat.token,
        ttl_ms=TTL_MS,
        fingerprint=b"content",
        owner=OWNER,
        holder=b"\xc0",
        seats=seat.seats,
        group="",
        named=False,
    )


@dataclass
class Organization:
    """The scripts with the arguments that a test does not care about filled in.

    Time is the daemon's boot clock, ``at_ms``; a test moves it. ``steps`` walks in steps that the
    lease clock follows exactly, since one reply carries a claim by two seconds at most.
    """

    store: Store
    slug: str = "acme"
    license: str = "kre"
    trust: str = "durable"
    at_ms: int = 1_000_000
    clock: LeaseClock = field(init=False)
    reading: Reading | None = None
    ended: list[Ended] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = self.new_clock()

    def new_clock(self) -> LeaseClock:
        """The clock of a daemon that has just started."""
        return LeaseClock(epoch_floor=EPOCH_FLOOR, recovery_ms=RECOVERY_MS, trust=self.trust)

    def other_daemon(self) -> Organization:
        """The same organization, from a daemon that has just started."""
        return replace(self)

    async def pass_time(self, ms: int) -> None:
        """Let ``ms`` pass with a tick every two seconds at least, as a daemon does it."""
        while ms > 0:
            step = min(ms, 2_000)
            self.at_ms += step
            ms -= step
            await self.tick()

    async def tick(self) -> None:
        self._learn(await scripts.tick(self.store, self.slug, self._context()))

    async def reap(self) -> list[Ended]:
        reading, ended = await scripts.reap(self.store, self.slug, self._context())
        self._learn(reading)
        return ended

    async def acquire(
        self,
        number: int,
        *,
        machine: str = "m1",
        ephemeral: bool = False,
        wait: bool = False,
        content: bytes = b"content",
        license: str | None = None,
        owner: str = OWNER,
        wall_ms: int = 1_800_000_000_000,
        seats: int = 1,
        most_seats: int | None = None,
        labels: dict[str, str] | None = None,
        holder: bytes = b"\xc0",
    ) -> SeatGranted | InLine | NotGranted:
        reading, self.ended, outcome = await scripts.acquire(
            self.store,
            self.slug,
            self._context(),
            lease_id=lease_id(number),
            license=license or self.license,
            machine=machine,
            ephemeral=ephemeral,
            fingerprint=content,
            owner=owner,
            holder=holder,
            labels=msgpack.packb(labels or {}),
            least_seats=seats,
            most_seats=most_seats or seats,
            may_wait=wait,
            margin_ms=MARGIN_MS,
            wall_ms=wall_ms,
        )
        self._learn(reading)
        return outcome

    async def fill(self, seats: int = 2) -> None:
        """Take all seats with ids from 1."""
        for number in range(1, seats + 1):
            assert isinstance(await self.acquire(number), scripts.SeatGranted)

    async def position(self, number: int, machine: str = "m1") -> int:
        """Ask for a seat that is not free; the place in line."""
        place = await self.acquire(number, wait=True, machine=machine)
        assert isinstance(place, scripts.InLine), place
        return place.position

    async def renew(self, *numbers: int) -> list[Renewed]:
        reading, results = await scripts.renew(
            self.store,
            self.slug,
            self._context(),
            [lease_id(number) for number in numbers],
            margin_ms=MARGIN_MS,
        )
        self._learn(reading)
        return results

    async def idle(self, **seconds: int) -> list[str | None]:
        """What holders say of how long they are idle, by lease: ``_1=600``."""
        said = [(lease_id(int(name[1:])), idle * 1000) for name, idle in seconds.items()]
        reading, results = await scripts.idle(
            self.store, self.slug, self._context(), os.urandom(4).hex(), said
        )
        self._learn(reading)
        return results

    async def finish(self, number: int, **notice: object) -> str:
        reading, status = await sessions.finish(
            self.store,
            self.slug,
            self._context(),
            lease_id(number),
            notice=notice,
            change_id=os.urandom(8),
            entry=b"",
        )
        self._learn(reading)
        return status

    async def end(self, *numbers: int) -> list[int]:
        reading, results = await sessions.end(
            self.store,
            self.slug,
            self._context(),
            [lease_id(number) for number in numbers],
            reason="ended",
            text="an admin said so",
            change_id=os.urandom(8),
            entry=b"",
        )
        self._learn(reading)
        return results

    async def news(self, *numbers: int) -> list[News]:
        reading, found = await news.news(
            self.store, self.slug, self._context(), [lease_id(number) for number in numbers]
        )
        self._learn(reading)
        return found

    async def keep(self, *numbers: int) -> list[int]:
        reading, kept = await scripts.keep(
            self.store, self.slug, self._context(), [lease_id(number) for number in numbers]
        )
        self._learn(reading)
        return kept

    async def restore(self, *proven: Proven) -> list[int | str]:
        reading, results = await scripts.restore(
            self.store,
            self.slug,
            self._context(),
            proven,
            margin_ms=MARGIN_MS,
            wall_ms=1_800_000_000_000,
        )
        self._learn(reading)
        return results

    async def recovering_ms(self) -> int:
        """How long nothing is granted yet."""
        await self.tick()
        assert self.reading is not None
        return self.reading.recovering_ms

    async def sweep(self, wall_ms: int = 1_800_000_000_000) -> sessions.Swept:
        reading, swept = await sessions.sweep(
            self.store,
            self.slug,
            self._context(),
            wall_ms=wall_ms,
            sessions_since_ms=0,
            audit_since_ms=0,
        )
        self._learn(reading)
        return swept

    async def unregister(self, machine: str) -> None:
        """Remove a machine."""
        (reading,) = await sessions.unregister(
            self.store,
            self.slug,
            self._context(),
            [(self.license, machine)],
            change_id=os.urandom(8),
            entry=b"",
        )
        self._learn(reading)

    async def open_recovery(self) -> None:
        """Have the store notice that it lost its memory: somebody has seen a later epoch."""
        self.clock.heard_of(self.clock.context(self.at_ms).highest_epoch + 1)
        await self.tick()

    async def release(
        self, number: int, *, asker: str = OWNER, may_end_others: bool = False
    ) -> Released:
        reading, released = await scripts.release(
            self.store,
            self.slug,
            self._context(),
            lease_id(number),
            asker=asker,
            may_end_others=may_end_others,
        )
        self._learn(reading)
        return released

    async def set_quota(
        self,
        seats: int,
        machines: int | None = None,
        *,
        license: str | None = None,
        kind: str = "floating",
        expires: int = 0,
        idle: int = 0,
        force: bool = False,
    ) -> QuotaAnswer:
        """``machines`` None is unlimited."""
        mark = changes.ChangeMark(None, os.urandom(8), b"")
        reading, answer = await changes.quota(
            self.store,
            self.slug,
            self._context(),
            mark,
            license=license or self.license,
            fields={
                "kind": kind,
                "seats": seats,
                "machines": changes.UNLIMITED if machines is None else machines,
                "ttl": TTL_MS,
                "expires": expires,
                "idle": idle,
            },
            force=force,
        )
        self._learn(reading)
        return answer

    async def set_policy(self, *groups: dict[str, object], license: str | None = None) -> None:
        """Each group as ``lua/lib/policy.lua`` has it."""
        await self._set(license, policy=msgpack.packb(list(groups), use_bin_type=False))

    async def set_packed_policy(self, packed: bytes) -> None:
        await self._set(policy=packed)

    async def set_retention(self, seconds: int) -> None:
        """For how long an idle machine stays registered."""
        await self._set(retention=seconds)

    async def drain(self, *, drained: bool = True, license: str | None = None) -> None:
        await self._set(license, drained=int(drained))

    async def _set(self, license: str | None = None, **fields: str | int | bytes) -> None:
        mark = changes.ChangeMark(None, os.urandom(8), b"")
        reading, _ = await changes.quota(
            self.store,
            self.slug,
            self._context(),
            mark,
            license=license or self.license,
            fields=fields,
            force=True,
        )
        self._learn(reading)

    def _context(self) -> scripts.Context:
        return self.clock.context(self.at_ms)

    def _learn(self, reading: Reading) -> None:
        self.reading = reading
        self.clock.learn(reading, self.at_ms)
