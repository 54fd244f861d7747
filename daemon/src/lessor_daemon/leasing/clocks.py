"""All lease clocks of a daemon: each script call goes through one, and none may stand still."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import structlog

from lessor_daemon.containment import contained
from lessor_daemon.side_by_side import SideBySide
from lessor_daemon.store import directory, scripts
from lessor_daemon.store.errors import store_problems

from .clock import LeaseClock
from .settings import DURABLE, UNTRUSTED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from lessor_daemon.metrics import Metrics
    from lessor_daemon.store.scripts import Context, Ended, Reading
    from lessor_daemon.store.store import Store

    from .memory import ClockMemory, Remembered
    from .settings import LeasingSettings

    Answer = TypeVar("Answer", bound=tuple[Reading, *tuple[Any, ...]])

LOOK_EVERY_SECONDS = 0.1
FIND_EVERY_SECONDS = 10.0
REMEMBER_EVERY_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class LeaseClocks:
    """The clocks by organization, with the tasks that tick them and reap what has lapsed."""

    def __init__(
        self,
        store: Store,
        settings: LeasingSettings,
        metrics: Metrics,
        memory: ClockMemory,
        *,
        boottime_ms: Callable[[], int],
        wall_ms: Callable[[], int],
        on_ended: Callable[[str, list[Ended]], None],
    ) -> None:
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._boottime_ms = boottime_ms
        self._wall_ms = wall_ms
        self._on_ended = on_ended
        self._clocks: dict[str, LeaseClock] = {}
        self._memory = memory
        self._of_copy: set[str] | None = None
        """The organizations of a data directory that is a copy; None before they are known."""
        self._trust = settings.trust
        if memory.is_copy and settings.trust == DURABLE:
            _log.warning("data_directory_is_a_copy", file=str(memory.path))
            self._trust = UNTRUSTED

    @property
    def epoch(self) -> int:
        """The highest epoch seen in any organization."""
        return max((clock.epoch for clock in self._clocks.values()), default=0)

    @property
    def is_recovering(self) -> bool:
        """Whether some organization grants nothing yet."""
        now_ms = self._boottime_ms()
        return any(clock.is_recovering(now_ms) for clock in self._clocks.values())

    def epoch_of(self, org: str) -> int:
        """The highest epoch seen in one organization."""
        return self._clock(org).epoch

    async def check_recovering(self, org: str) -> bool:
        """Ask the store whether the organization grants nothing yet."""
        (reading,) = await self.run(org, lambda context: self._ticked(org, context))
        return reading.recovering_ms > 0

    def heard_of(self, org: str, epoch: int) -> None:
        """A client's certificate names this epoch."""
        self._clock(org).heard_of(epoch)

    async def run(self, org: str, script: Callable[[Context], Awaitable[Answer]]) -> Answer:
        """Call a script with the organization's clock, and learn from its reply.

        Raises ``Problem`` ``store_unavailable``, also for a reply of an older epoch: it comes from
        a store that was left behind, and nothing in it may be passed on.
        """
        clock = self._clock(org)
        with store_problems():
            answer = await script(clock.context(self._boottime_ms()))
            clock.learn(answer[0], self._boottime_ms())
        return answer

    async def keep_running(self) -> None:
        """Tick and reap for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._find_organizations(), name="find organizations")
            group.create_task(self._look_after(), name="tick and reap")
            group.create_task(self._keep_memory(), name="remember clocks")

    async def _find_organizations(self) -> None:
        """Also those that only another daemon serves: should it die, their clocks go on here."""
        while True:
            with contained(_log, "organizations_unknown"):
                found = {*await directory.organizations(self._store)}
                if self._of_copy is None and self._memory.is_copy:
                    self._of_copy = found | self._memory.clocks.keys()
                for org in found | (self._of_copy or set()):
                    self._clock(org)
            await asyncio.sleep(FIND_EVERY_SECONDS)

    async def _keep_memory(self) -> None:
        """Write down every few seconds, and at the end, how far the clocks have come."""
        try:
            while True:
                await asyncio.sleep(REMEMBER_EVERY_SECONDS)
                with contained(_log, "clocks_not_remembered"):  # no room for another thread
                    await asyncio.to_thread(self._save_memory, self._heard())
        finally:
            self._save_memory(self._heard())

    def _heard(self) -> dict[str, Remembered]:
        """How far each clock came. Here and not in a thread: the clocks may change meanwhile."""
        found = {org: clock.remember() for org, clock in self._clocks.items()}
        return {org: one for org, one in found.items() if one is not None}

    def _save_memory(self, heard: dict[str, Remembered]) -> None:
        if self._memory.is_copy and (self._of_copy is None or self._of_copy - heard.keys()):
            # Written by this daemon, the file is no copy any more for the next start, which would
            # trust what it finds. So it stays until each clock has begun a new epoch with grace.
            return
        try:
            self._memory.save(heard, wall_seconds=self._wall_ms() / 1000)
        except OSError as error:
            _log.warning("clocks_not_remembered", error=str(error))

    async def _look_after(self) -> None:
        async with asyncio.TaskGroup() as group:
            under_way = SideBySide(group, _log, "clock_not_served")
            while True:
                now_ms = self._boottime_ms()
                for org in self._clocks.keys() - under_way.busy:
                    if self._clocks[org].has_lapsed(now_ms):
                        under_way.begin(org, self._reap)
                    elif self._clocks[org].needs_tick(now_ms):
                        under_way.begin(org, self.check_recovering)
                self._metrics.epoch.set(self.epoch)
                self._metrics.recovering.set(self.is_recovering)
                await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def _ticked(self, org: str, context: Context) -> tuple[Reading]:
        return (await scripts.tick(self._store, org, context),)

    async def _reap(self, org: str) -> None:
        """One call: what is left is reaped at the next look, so a mass lapse stays paced."""
        _, ended = await self.run(org, lambda c: scripts.reap(self._store, org, c))
        self._on_ended(org, ended)

    def _clock(self, org: str) -> LeaseClock:
        clock = self._clocks.get(org)
        if clock is None:
            clock = self._clocks[org] = LeaseClock(
                epoch_floor=self._settings.epoch_floor,
                recovery_ms=self._settings.recovery_ms,
                trust=self._trust,
                remembered=self._memory.clocks.get(org),
            )
        return clock
