"""The lease clock as one daemon knows it: what it may claim, and what it has seen.

The store holds an organization's clock; daemons keep it running by claiming how much time has
passed since a reply. A claim rests on one anchor and never exceeds the time that truly passed
since that reply was received, nor two seconds, so the clock can lag but not run fast. There is no
clock in here: callers pass ``now_ms`` of ``CLOCK_BOOTTIME``. ``epoch_floor`` is the least number of
a new epoch at its zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lessor_protocol.timing import CLOCK_CLAIM_CAP_MS

from lessor_daemon.store.errors import StoreUnavailable
from lessor_daemon.store.scripts import Context

from .memory import Remembered

if TYPE_CHECKING:
    from lessor_daemon.store.scripts import Reading

TICK_AFTER_MS = 500
"""An organization with leases or waiters and no script for so long gets a tick."""
IDLE_TICK_AFTER_MS = 30_000
"""Any other gets one this often: another daemon may have granted there, and died."""


class StaleReply(StoreUnavailable):
    """A reply of an older epoch than this daemon has seen. It must not be passed on."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A clock value and when the reply that brought it was received."""

    seen_ms: int
    received_ms: int

    def claim_ms(self, now_ms: int) -> int:
        """What the clock must have reached by now."""
        return self.seen_ms + min(now_ms - self.received_ms, CLOCK_CLAIM_CAP_MS)


class LeaseClock:
    """One organization's clock, from the replies this daemon has had."""

    def __init__(
        self,
        *,
        epoch_floor: int,
        recovery_ms: int,
        trust: str,
        remembered: Remembered | None = None,
    ) -> None:
        self._epoch_floor = epoch_floor
        self._recovery_ms = recovery_ms
        self._trust = trust
        self._epoch = self._highest_epoch = remembered.epoch if remembered else 0
        self._remembered_ms = remembered.now_ms if remembered else 0
        self._replid = ""
        self._fastest: Anchor | None = None
        self._newest: Anchor | None = None
        self.next_deadline_ms: int | None = None
        self.recovering_until_ms = 0

    @property
    def epoch(self) -> int:
        """The highest epoch seen; 0 before the first reply."""
        return self._highest_epoch

    def context(self, now_ms: int) -> Context:
        """What to send along with a script that starts now."""
        anchor = self._best(now_ms)
        return Context(
            claim_ms=anchor.claim_ms(now_ms) if anchor else None,
            seen_ms=anchor.seen_ms if anchor else self._remembered_ms,
            epoch=self._epoch,
            replid=self._replid,
            highest_epoch=self._highest_epoch,
            # By the second: a store that was emptied long after the start, and that a daemon finds
            # which has not seen the epochs in between, must not go back to that start.
            epoch_floor=self._epoch_floor + now_ms // 1000,
            recovery_ms=self._recovery_ms,
            trust=self._trust,
        )

    def remember(self) -> Remembered | None:
        """What to write down for the next start; None before the first reply."""
        return Remembered(self._epoch, self._newest.seen_ms) if self._newest else None

    def heard_of(self, epoch: int) -> None:
        """A certificate names a later epoch than any reply: the store has lost its memory."""
        self._highest_epoch = max(self._highest_epoch, epoch)

    def learn(self, reading: Reading, received_ms: int) -> None:
        """Take in a reply. Raises ``StaleReply`` if its epoch is older than one already seen."""
        if reading.epoch < self._highest_epoch:
            raise StaleReply(f"epoch {reading.epoch} after {self._highest_epoch}")
        anchor = Anchor(reading.now_ms, received_ms)
        if (reading.epoch, reading.replid) != (self._epoch, self._replid):
            self._epoch, self._replid = reading.epoch, reading.replid
            self._highest_epoch = reading.epoch
            self._fastest = self._newest = anchor
        else:
            if self._fastest is None or anchor.claim_ms(received_ms) >= self._fastest.claim_ms(
                received_ms
            ):
                self._fastest = anchor
            self._newest = anchor
        self.next_deadline_ms = reading.next_deadline_ms
        self.recovering_until_ms = received_ms + reading.recovering_ms

    def is_recovering(self, now_ms: int) -> bool:
        """Whether the last reply said that nothing is granted yet."""
        return now_ms < self.recovering_until_ms

    def needs_tick(self, now_ms: int) -> bool:
        """Whether the clock would stand still without a tick, though somebody counts on it."""
        if self._newest is None:
            return True
        wanted = self.next_deadline_ms is not None or self.is_recovering(now_ms)
        pause_ms = TICK_AFTER_MS if wanted else IDLE_TICK_AFTER_MS
        return now_ms - self._newest.received_ms >= pause_ms

    def has_lapsed(self, now_ms: int) -> bool:
        """Whether some deadline has passed for certain, so that there is something to reap."""
        anchor = self._best(now_ms)
        return (
            anchor is not None
            and self.next_deadline_ms is not None
            and not self.is_recovering(now_ms)
            and anchor.claim_ms(now_ms) > self.next_deadline_ms
        )

    def _best(self, now_ms: int) -> Anchor | None:
        """The anchor with the largest claim: the newest alone would make the clock lag."""
        if self._fastest is None or self._newest is None:
            return self._newest
        return max(self._fastest, self._newest, key=lambda anchor: anchor.claim_ms(now_ms))
