"""A daemon of the small model: what it knows of the lease clock (``leasing/clock.py``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from models.small_store import Context

if TYPE_CHECKING:
    from models.small_store import Data, Laws


class Reading(NamedTuple):
    """The clock as a reply carries it, and whether nothing is granted."""

    now: int
    epoch: int
    replid: int
    is_recovering: bool


def read(data: Data) -> Reading:
    """What a script's reply says of the clock."""
    return Reading(data.now, data.epoch, data.replid, data.is_recovering)


class Anchor(NamedTuple):
    """A value of the clock, and how long ago the reply that brought it was received."""

    seen: int
    age: int


class Daemon(NamedTuple):
    """``remembered`` is the clock as written down before a restart, ``floor`` the start's time."""

    floor: int
    epoch: int = 0
    replid: int = 0
    highest: int = 0
    remembered: int | None = None
    fastest: Anchor | None = None
    newest: Anchor | None = None


def restarted(daemon: Daemon, floor: int, *, remembers: bool) -> Daemon:
    """The same daemon after a restart, with what it had written down or without."""
    if not remembers:
        return Daemon(floor)
    seen = daemon.newest.seen if daemon.newest else daemon.remembered
    return Daemon(floor, daemon.epoch, 0, daemon.epoch, seen)


def context(daemon: Daemon, trust: str, hour: int, laws: Laws) -> Context:
    """What to send along with a script."""
    anchor = _best(daemon)
    floor = hour if laws.rules.epoch_at_least_the_hour else daemon.floor
    highest = daemon.highest if laws.rules.highest_epoch_carried else 0
    if anchor is None:
        return Context(None, daemon.remembered, daemon.epoch, daemon.replid, highest, floor, trust)
    return Context(
        _claim(anchor),
        anchor.seen,
        daemon.epoch,
        daemon.replid,
        highest,
        floor,
        trust,
    )


def heard_of(daemon: Daemon, epoch: int) -> Daemon:
    """A certificate names this epoch."""
    return daemon._replace(highest=max(daemon.highest, epoch))


def learn(daemon: Daemon, reading: Reading, laws: Laws) -> Daemon | None:
    """Take in a reply; None if it is of an older epoch, and must not be passed on."""
    if reading.epoch < daemon.highest and laws.rules.old_replies_dropped:
        return None
    anchor = Anchor(reading.now, 0)
    same_epoch = reading.epoch == daemon.epoch and (
        reading.replid == daemon.replid or not laws.rules.epoch_is_a_pair
    )
    if not same_epoch:
        return Daemon(
            daemon.floor,
            reading.epoch,
            reading.replid,
            reading.epoch,
            daemon.remembered,
            anchor,
            anchor,
        )
    fastest = daemon.fastest
    if fastest is None or _claim(anchor) >= _claim(fastest):
        fastest = anchor
    return daemon._replace(
        replid=reading.replid, highest=reading.epoch, fastest=fastest, newest=anchor
    )


def older(anchor: Anchor, laws: Laws) -> Anchor:
    """The anchor one unit later; older than the longest claim makes no difference."""
    longest = laws.constants.cap
    if not (laws.rules.claim_capped and laws.rules.cap_in_claim):
        longest = laws.recovery + laws.constants.ttl + laws.margin + 1
    return Anchor(anchor.seen, min(anchor.age + 1, longest))


def _claim(anchor: Anchor) -> int:
    return anchor.seen + anchor.age  # the age is capped where it grows, see ``older``


def _best(daemon: Daemon) -> Anchor | None:
    if daemon.fastest is None or daemon.newest is None:
        return daemon.newest
    if _claim(daemon.newest) > _claim(daemon.fastest):
        return daemon.newest
    return daemon.fastest
