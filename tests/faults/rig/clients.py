"""Virtual clients: each asks as a client does, in rounds of several kinds."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

from lessor.server import Server
from lessor_protocol import timing

from .held import PAUSE_SECONDS, WAIT_MS, Held
from .history import ABSENT, GRANTED, KEPT_GOING, LOST, QUEUED, RELEASED, RENEWED, now
from .site import CAPS, MACHINES, TEAMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lessor.config import ClientConfig

    from .held import Notes

LONGEST_HOLD_TTLS = 0.5
RETRY_PAUSE_SECONDS = (0.05, 0.15)
LATE_TRIES = 4

SEATS_WANTED = ((1, 1), (1, 1), (1, 1), (2, 2), (1, 2))
"""On the license with the machine quota."""
STORM_PLACES = 12
STORM_SECONDS = 4.0
STORM_PAUSE_SECONDS = 0.3

DOZE_SECONDS = (3.0, 6.0)
"""Longer than an offer waits, and so short that the place in the line is kept."""

ENDS_A_WAIT = frozenset({GRANTED, "lease_ended", "conflict"})

HABITS = (*["hold"] * 24, "abandon", "leave", "doze", "come_twice", "come_late", "storm")
"""What a client does in a round; those named more often are done more often."""


class Client(threading.Thread):
    """One client's rounds, each of another kind, until ``over``."""

    def __init__(
        self,
        notes: Notes,
        config: ClientConfig,
        name: str,
        *,
        licenses: Sequence[str],
        machines: Sequence[str],
        habits: Sequence[str],
        ttl: float,
        over: threading.Event,
        seed: str,
    ) -> None:
        super().__init__(name=name)
        self._notes = notes
        self._config = config
        self._server = Server(config)
        self._licenses = licenses
        self._machines = machines
        self._habits = habits
        self._over = over
        self._longest_hold = LONGEST_HOLD_TTLS * ttl
        self._chance = random.Random(seed)
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Until it is over."""
        kinds = [getattr(self, f"_{habit}") for habit in self._habits]
        try:
            while not self._over.is_set():
                self._chance.choice(kinds)()
        except BaseException as error:  # noqa: BLE001  # a thread's failure must reach the process
            self.failure = error
        finally:
            self._server.close()

    def _new(self) -> Held:
        license, machine = self._chance.choice(self._licenses), self._chance.choice(self._machines)
        team = self._chance.choice(TEAMS) if license in CAPS else ""
        seats = self._chance.choice(SEATS_WANTED) if MACHINES[license] else (1, 1)
        return Held(
            *(self._notes, self._server, self.name, license, machine), seats=seats, team=team
        )

    def _hold(self) -> Held | None:
        """Acquire, use, release."""
        held = self._new()
        if not self._seek(held):
            return None
        self._use(held, self._chance.uniform(0, self._longest_hold))
        self._give_back(held)
        return held

    def _abandon(self) -> None:
        """Die holding a seat, and watch when it is free. A renewal comes too late then."""
        held = self._new()
        if not self._seek(held):
            return
        self._use(held, self._chance.uniform(0, self._longest_hold / 2))
        while not self._over.is_set():
            if now() > held.deadline - PAUSE_SECONDS and held.look() == ABSENT:
                held.renew(late=True)
                return
            self._over.wait(PAUSE_SECONDS)

    def _leave(self) -> None:
        """Lose patience in the line."""
        held = self._new()
        until = now() + self._chance.uniform(0, 2)
        while now() < until and held.acquire() not in KEPT_GOING:
            self._pause(held)
        self._give_back(held)

    def _doze(self) -> None:
        """Ask so rarely that a seat which is offered meanwhile may go to the next one."""
        held = self._new()
        while not self._over.is_set() and held.acquire(hold_ms=0) not in ENDS_A_WAIT:
            self._over.wait(self._chance.uniform(*DOZE_SECONDS))
        self._use(held, self._chance.uniform(0, self._longest_hold))
        self._give_back(held)

    def _come_twice(self) -> None:
        """Ask for the same lease from two connections at once."""
        held = self._new()
        server = Server(self._config)
        other = threading.Thread(target=held.twin(server).acquire)
        other.start()
        is_granted = self._seek(held)
        other.join()
        server.close()
        if is_granted:
            self._use(held, self._chance.uniform(0, self._longest_hold / 2))
            self._give_back(held)

    def _come_late(self) -> None:
        """After the release, let its own earlier requests arrive once more."""
        held = self._hold()
        if held is None or held.outcome != RELEASED:
            return
        for _ in range(LATE_TRIES):
            self._over.wait(self._chance.uniform(0, 1))
            held.acquire(wait_ms=self._chance.choice((0, WAIT_MS)), late=True)
        held.renew(late=True)

    def _storm(self) -> None:
        """A dozen come at once, ask on all the time, and use what they get for a moment."""
        line = [self._new() for _ in range(STORM_PLACES)]
        until = now() + STORM_SECONDS
        while line and now() < until and not self._over.wait(STORM_PAUSE_SECONDS):
            for held in list(line):
                if held.acquire(hold_ms=0) == GRANTED:
                    self._use(held, self._chance.uniform(0, STORM_PAUSE_SECONDS))
                    self._give_back(held)
                    line.remove(held)
        for held in line:
            self._give_back(held)

    def _seek(self, held: Held) -> bool:
        """Ask until there is a seat that can still be used. Else leave."""
        while not self._over.is_set():
            outcome = held.acquire()
            if outcome == GRANTED and held.may_run:
                return True
            if outcome in ENDS_A_WAIT:
                break
            self._pause(held)
        self._give_back(held)
        return False

    def _pause(self, held: Held) -> None:
        if held.outcome == QUEUED:
            self._over.wait(held.retry_after)
        else:
            self._over.wait(self._chance.uniform(*RETRY_PAUSE_SECONDS))

    def _use(self, held: Held, seconds: float) -> None:
        """Use the seat and renew as told. What its deadline cuts off was not used."""
        began = now()
        until = began + seconds
        due = began + timing.renew_after_ms(held.ttl_ms) / 1000
        how = "done"
        while held.may_run and now() < until:
            if now() >= due:
                if held.renew() == LOST:
                    how = "ended"
                    break
                pause_ms = (
                    timing.renew_after_ms if held.outcome == RENEWED else timing.retry_every_ms
                )
                due = now() + pause_ms(held.ttl_ms) / 1000
            time.sleep(max(0.0, min(until, due, held.deadline) - now()))
        held.ran(began, how=how)

    def _give_back(self, held: Held) -> None:
        for _ in range(20):
            if held.release() == RELEASED:
                return
            self._over.wait(self._chance.uniform(*RETRY_PAUSE_SECONDS))


class Probe(threading.Thread):
    """Renews one lease all the time, to know when a path was disturbed."""

    def __init__(
        self, notes: Notes, config: ClientConfig, name: str, over: threading.Event
    ) -> None:
        super().__init__(name=name)
        self._notes = notes
        self._server = Server(config)
        self._over = over
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Until it is over."""
        try:
            while not self._over.is_set():
                self._hold_one()
        except BaseException as error:  # noqa: BLE001  # a thread's failure must reach the process
            self.failure = error
        finally:
            self._server.close()

    def _hold_one(self) -> None:
        held = Held(self._notes, self._server, self.name, "probe", "probe")
        while held.acquire(wait_ms=0) != GRANTED:
            if self._over.wait(PAUSE_SECONDS):
                return
        while not self._over.wait(PAUSE_SECONDS / 2):
            if held.renew() in (LOST, "not_found"):
                return
        held.release()
