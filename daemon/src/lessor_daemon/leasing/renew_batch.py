"""One batch of renewals: the script ``renew``, and ``restore`` or ``idle`` where one is due.

``restore`` is for leases that a store without memory does not know, ``idle`` for holders who say
for how long they have not used their seats.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import structlog
from lessor_protocol.lease_id import format_lease_id

from lessor_daemon.store import scripts

from . import certificate
from .answers import UNKNOWN
from .holders import to_proven

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lessor_protocol.messages import Renewal

    from lessor_daemon.metrics import Metrics
    from lessor_daemon.store.scripts import Reading
    from lessor_daemon.store.store import Store

    from .certificate import Claims
    from .clocks import LeaseClocks
    from .renewals import Result
    from .settings import LeasingSettings

_log = structlog.get_logger(__name__)


class RenewBatch:
    """``await batch(org, renewals)`` renews, in order, at most ``MAX_RENEWALS`` leases."""

    def __init__(
        self,
        store: Store,
        settings: LeasingSettings,
        metrics: Metrics,
        clocks: LeaseClocks,
        *,
        wall_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._clocks = clocks
        self._wall_ms = wall_ms

    def proven_org(self, renewals: Sequence[Renewal]) -> str | None:
        """The one organization that all these certificates are of; None if one is not valid."""
        orgs = set()
        for renewal in renewals:
            claims = certificate.read(self._settings.secret, renewal.certificate)
            if claims is None or claims.lease_id != renewal.lease_id:
                return None
            self._clocks.heard_of(claims.org, claims.epoch)
            orgs.add(claims.org)
        return orgs.pop() if len(orgs) == 1 else None

    async def __call__(self, org: str, renewals: Sequence[Renewal]) -> list[Result]:
        margin_ms = self._settings.fixed_margin_ms
        ids = [renewal.lease_id for renewal in renewals]
        self._metrics.batch_size.labels("renew").observe(len(ids))
        reading, results = await self._clocks.run(
            org, lambda c: scripts.renew(self._store, org, c, ids, margin_ms=margin_ms)
        )
        forgotten = [
            (i, claims)
            for i, result in enumerate(results)
            if result == UNKNOWN and (claims := self._read_certificate(org, renewals[i]))
        ]
        if forgotten:
            await self._restore(org, reading, forgotten, results)
        if idle := self._believed_idle(org, renewals, results):
            await self._tell_idle(org, renewals, idle, results)
        return results

    def _believed_idle(
        self, org: str, renewals: Sequence[Renewal], results: list[Result]
    ) -> list[int]:
        """Which of those renewed say that they are idle, and may: only the holder has a proof."""
        return [
            i
            for i, renewal in enumerate(renewals)
            if renewal.idle_ms is not None
            and not isinstance(results[i], str)
            and self._read_certificate(org, renewal)
        ]

    async def _tell_idle(
        self, org: str, renewals: Sequence[Renewal], idle: list[int], results: list[Result]
    ) -> None:
        said = [(renewals[i].lease_id, renewals[i].idle_ms or 0) for i in idle]
        notice_id = os.urandom(6).hex()
        _, lost = await self._clocks.run(
            org, lambda c: scripts.idle(self._store, org, c, notice_id, said)
        )
        for i, why in zip(idle, lost, strict=True):
            if why is not None:
                results[i] = why

    def _read_certificate(self, org: str, renewal: Renewal) -> Claims | None:
        claims = certificate.read(self._settings.secret, renewal.certificate)
        is_its_own = claims and claims.org == org and claims.lease_id == renewal.lease_id
        return claims if is_its_own else None

    async def _restore(
        self,
        org: str,
        reading: Reading,
        forgotten: list[tuple[int, Claims]],
        results: list[Result],
    ) -> None:
        """Put back what the store forgot, and correct ``results``.

        A certificate of an epoch that the store has not reached proves that it lost its memory.
        """
        self._clocks.heard_of(org, max(claims.epoch for _, claims in forgotten))
        if not reading.recovering_ms and self._clocks.epoch_of(org) == reading.epoch:
            return
        proven = [to_proven(claims) for _, claims in forgotten]
        _, restored = await self._clocks.run(
            org,
            lambda c: scripts.restore(
                self._store,
                org,
                c,
                proven,
                margin_ms=self._settings.fixed_margin_ms,
                wall_ms=self._wall_ms(),
            ),
        )
        for (i, claims), result in zip(forgotten, restored, strict=True):
            results[i] = result
            if isinstance(result, int):
                _log.warning(
                    "lease_restored",
                    org=org,
                    license=claims.license,
                    lease=format_lease_id(claims.lease_id),
                    machine=claims.machine,
                    token=claims.token,
                )
