"""Which key is calling. Failed attempts are counted, and limited per source.

A secret has 238 random bits, so no number of attempts finds one: the limit protects the store and
the log from who keeps trying, and tells a client with a dead key to ask less often. Nobody with a
good key may pay for that, who may share an address with others behind a NAT or a proxy: a renewal
that is refused ends a healthy run. So an attempt is judged before its source is. The store is asked
about each key that does not hold by what is known here, and only who fails is told to wait. Those
of sources that have failed too often ask it a few at a time, in turn: a good key among them waits
a moment, and the others keep no connection busy.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import structlog
from lessor_protocol.credentials import split_api_key
from lessor_protocol.errors import Problem

from lessor_daemon.shared_reads import SharedReads
from lessor_daemon.store import directory as stored
from lessor_daemon.store.directory import REVOKED
from lessor_daemon.store.errors import store_problems

from . import api_keys
from .callers import Caller

if TYPE_CHECKING:
    from collections.abc import Callable

    from lessor_daemon.metrics import Metrics
    from lessor_daemon.store.directory import KeyRecord
    from lessor_daemon.store.store import Store

KEY_KEPT_MS = 2_000
"""How long a key's record is believed without asking the store: a revocation takes as long."""
MOST_KEYS_KEPT = 10_000
USED_EVERY_SECONDS = 60

FAILURES_AT_ONCE = 30
FAILURE_EVERY_MS = 2_000
"""A source may fail so often in a row, and once more every so often."""
MOST_SOURCES = 10_000
SUSPECTS_READ_AT_ONCE = 4
"""Reads of the store for all sources together that have failed too often."""

_log = structlog.get_logger(__name__)

HOLDING = frozenset({"renew", "watch", "release", "stream"})
"""What a key that has expired, or was revoked to finish, may still do. A stream is but a way to do
it: each of its frames is looked at by itself."""


@dataclass(slots=True)
class _Kept:
    caller: Caller
    record: KeyRecord
    read_ms: int
    noted_used: int = 0


class Authentication:
    """Keeps what it knows of keys for a moment."""

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        *,
        boottime_ms: Callable[[], int],
        wall_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._boottime_ms = boottime_ms
        self._wall_ms = wall_ms
        self._kept: dict[str, _Kept] = {}
        self._seen_good: dict[bytes, _Kept] = {}
        """By the digest of the whole key: what ``authenticate`` has just found good."""
        # Hundreds of streams use one key. One that is forgotten while it is read is not kept.
        self._reads: SharedReads[str, _Kept | None] = SharedReads(
            lambda key_id: self._kept.pop(key_id, None)
        )
        self._failures = Failures(boottime_ms)
        self._suspects = asyncio.Semaphore(SUSPECTS_READ_AT_ONCE)

    def forget(self, key_ids: list[str] | None = None) -> None:
        """Read these keys anew, all of them by default: a change was made here."""
        for key_id in list(self._kept) if key_ids is None else key_ids:
            self._kept.pop(key_id, None)
        self._reads.forget(key_ids)

    def recall(self, api_key: str) -> Caller | None:
        """What ``authenticate`` would answer, if that needs neither the store nor a second look.

        It asks no question twice: a renewal comes every few seconds from each of thousands. A key
        that only holds is looked at each time, for what it may do depends on the operation.
        """
        return self.recall_by_digest(self.digest(api_key))

    @staticmethod
    def digest(api_key: str) -> bytes:
        """What a key is remembered by."""
        # What came as bytes that are no UTF-8 is a key like another, which nobody has.
        return hashlib.sha256(api_key.encode(errors="surrogatepass")).digest()

    def recall_by_digest(self, digest: bytes) -> Caller | None:
        """As ``recall``, for who asks about the same key again and again."""
        kept = self._seen_good.get(digest)
        if kept is None or self._kept.get(kept.caller.key_id) is not kept:
            return None  # or forgotten, or read anew meanwhile
        if self._boottime_ms() - kept.read_ms >= KEY_KEPT_MS:
            return None
        record = kept.record
        if record.state or self._has_expired(record):
            return None
        return kept.caller

    async def authenticate(self, api_key: str, operation: str, source: str) -> Caller:
        """Who holds this key, if it is good for the operation.

        Raises ``Problem``: ``unauthenticated``, ``revoked``, ``rate_limited`` after many failures
        from one ``source``, or ``store_unavailable``.
        """
        try:
            key_id, secret = split_api_key(api_key)
        except ValueError as error:
            raise self._failed(source, "malformed", str(error)) from None
        kept = self._kept.get(key_id)
        if kept is None or not self._matches(secret, kept.record):
            # Also a record just read says nothing against a secret: the key may have been rotated
            # meanwhile, at another daemon.
            if self._failures.is_over(source):
                async with self._suspects:
                    kept = await self._read(key_id)
            else:
                kept = await self._read(key_id)
        elif self._boottime_ms() - kept.read_ms >= KEY_KEPT_MS:
            kept = await self._read(key_id)
        if kept is None or not self._matches(secret, kept.record):
            raise self._failed(source, "unknown", "no such API key")
        caller = self._good_for(kept, operation, source)
        await self._note_used(kept)
        if api_keys.matches(secret, kept.record.digest):  # not one that was rotated away
            self._remember(api_key, kept)
        return caller

    def _remember(self, api_key: str, kept: _Kept) -> None:
        if len(self._seen_good) >= MOST_KEYS_KEPT:
            self._seen_good.clear()
        self._seen_good[self.digest(api_key)] = kept

    def _good_for(self, kept: _Kept, operation: str, source: str) -> Caller:
        record, caller = kept.record, kept.caller
        if record.state:
            # The report of a kill frees the seat, whoever was told to kill.
            allowed = HOLDING if record.state != REVOKED else {"release"}
            if operation not in allowed:
                self._metrics.auth_failures_total.labels("revoked").inc()
                raise Problem("revoked", f"API key {record.name!r} was revoked")
        elif not self._has_expired(record):
            return caller
        elif operation not in HOLDING:
            raise self._failed(source, "expired", f"API key {record.name!r} has expired")
        return replace(caller, only_holds=True)

    def _has_expired(self, record: KeyRecord) -> bool:
        return 0 < record.expires_wall_seconds * 1000 <= self._wall_ms()

    async def _read(self, key_id: str) -> _Kept | None:
        """The key's record as the store has it now; None for no key."""
        return await self._reads.read(key_id, partial(self._read_alone, key_id))

    async def _read_alone(self, key_id: str) -> _Kept | None:
        now_ms = self._boottime_ms()
        role = None
        with store_problems():
            # Where it was the last time: another server may have to be asked where a key belongs.
            before = self._kept.get(key_id)
            record = before and await stored.key(self._store, before.record.org, key_id)
            record = record or await stored.find_key(self._store, key_id)
            if record is not None and record.member:
                member = await stored.member(self._store, record.org, record.member)
                role = member.role if member else None
        if record is None or (record.member and role is None and not record.state):
            # Who is not a member any more has no key.
            self._kept.pop(key_id, None)
            return None
        caller = Caller(
            key_id=key_id,
            key_name=record.name,
            org=record.org or None,
            member=record.member or None,
            role=role,
            scopes=record.scopes,
            license=record.license or None,
        )
        before = self._kept.get(key_id)
        if before is not None and (before.caller, before.record) == (caller, record):
            # What was found good before is: who tries other secrets slows nobody's renewals down.
            before.read_ms = now_ms
            return before
        if len(self._kept) >= MOST_KEYS_KEPT:
            self._kept.clear()
        noted = before.noted_used if before else 0
        kept = self._kept[key_id] = _Kept(caller, record, now_ms, noted)
        return kept

    def _matches(self, secret: str, record: KeyRecord) -> bool:
        if api_keys.matches(secret, record.digest):
            return True
        is_old = bool(record.old_digest) and api_keys.matches(secret, record.old_digest)
        return is_old and self._wall_ms() < record.old_until_wall_seconds * 1000

    async def _note_used(self, kept: _Kept) -> None:
        now = self._wall_ms() // 1000
        if now - kept.noted_used < USED_EVERY_SECONDS:
            return
        kept.noted_used = now
        record = kept.record
        with store_problems():
            await stored.note_key_used(self._store, record.org, record.key_id, now)

    def _failed(self, source: str, why: str, text: str) -> Problem:
        self._metrics.auth_failures_total.labels(why).inc()
        self._failures.check(source)
        self._failures.count(source)
        return Problem("unauthenticated", text)


class Failures:
    """Failed attempts by source: a bucket for each that fills up again with time."""

    def __init__(self, boottime_ms: Callable[[], int]) -> None:
        self._boottime_ms = boottime_ms
        self._empty_until_ms: dict[str, int] = {}
        """When a source's bucket will have forgotten all its failures."""

    def is_over(self, source: str) -> bool:
        """Whether this source has failed too often."""
        return self._wait_ms(source) > 0

    def check(self, source: str) -> None:
        """Raise ``Problem`` ``rate_limited`` if this source has failed too often."""
        wait_ms = self._wait_ms(source)
        if wait_ms > 0:
            raise Problem(
                "rate_limited",
                "too many attempts with keys that do not hold; "
                f"try again in {math.ceil(wait_ms / 1000)} s, with a key that does",
                retry_after=wait_ms / 1000,
            )

    def count(self, source: str) -> None:
        """Another failure of this source. The one that is the last for now is logged."""
        now_ms = self._boottime_ms()
        if len(self._empty_until_ms) >= MOST_SOURCES:
            self._empty_until_ms = {
                one: until for one, until in self._empty_until_ms.items() if until > now_ms
            }
            if len(self._empty_until_ms) >= MOST_SOURCES:
                self._empty_until_ms.clear()
        owed_ms = self._owed(source) + FAILURE_EVERY_MS
        self._empty_until_ms[_network(source)] = now_ms + owed_ms
        if owed_ms > (FAILURES_AT_ONCE - 1) * FAILURE_EVERY_MS:
            _log.warning("keys_guessed", source=source, failures=FAILURES_AT_ONCE)

    def _wait_ms(self, source: str) -> int:
        """How long until it may fail again."""
        return self._owed(source) - (FAILURES_AT_ONCE - 1) * FAILURE_EVERY_MS

    def _owed(self, source: str) -> int:
        now_ms = self._boottime_ms()
        return max(0, self._empty_until_ms.get(_network(source), now_ms) - now_ms)


def _network(source: str) -> str:
    """An IPv6 host has 2^64 addresses to fail from, so those count as one source."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return source
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return source
