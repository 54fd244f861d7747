"""What leasing is told once, at the start."""

from __future__ import annotations

from dataclasses import dataclass

from lessor_protocol import timing

EPOCH_BEGIN_WALL_SECONDS = 1_577_836_800
"""2020-01-01: epochs count from here, so that their 30 bits last until 2054."""

DURABLE = "durable"
NEW = "new"
UNTRUSTED = "none"


@dataclass(frozen=True, slots=True)
class LeasingSettings:
    """How far the store is trusted, and the durations that follow from it, in ms.

    ``trust``: a restart of the store loses nothing if ``DURABLE``; if ``NEW``, a store without a
    clock is a new one; if ``UNTRUSTED``, it may have lost anything. ``booted_wall_seconds`` is what
    the wall clock said when the boot clock was 0.
    """

    secret: bytes
    trust: str
    booted_wall_seconds: int
    max_ttl_ms: int = timing.MAX_TTL_MS
    margin_ms: int = timing.MARGIN_MS
    stale_master_ms: int = timing.FAILOVER_MS

    @property
    def failover_ms(self) -> int:
        """``X``; 0 for one durable server, which has no stale master."""
        return 0 if self.trust == DURABLE else self.stale_master_ms

    @property
    def fixed_margin_ms(self) -> int:
        """The part of the margin that does not depend on the ttl."""
        return self.margin_ms + self.failover_ms

    @property
    def recovery_ms(self) -> int:
        """``G``."""
        return timing.recovery_ms(
            self.max_ttl_ms, fixed_ms=self.margin_ms, failover_ms=self.failover_ms
        )

    @property
    def epoch_floor(self) -> int:
        """The least number of a new epoch when the boot clock was 0; it grows by one a second.

        It orders tokens, and decides no lease.
        """
        return self.booted_wall_seconds - EPOCH_BEGIN_WALL_SECONDS
