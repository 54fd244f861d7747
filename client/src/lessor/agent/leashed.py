"""The agent's view of its leash: orders, acknowledgements, and what to do when none come.

Every message to the leash is numbered and acknowledged. As long as one is not, the lease is not
renewed: each deadline the leash does not know of would be one it cannot keep. A leash that is
frozen for a moment answers afterwards and nothing has happened; one that stays silent when the
tree must be asked or killed is killed with it, by the agent itself.
"""

from __future__ import annotations

import os
import select
import signal

from lessor.clock import now_ms

from .tree import Tree, send
from .watch import ASK, KILL, REST, Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .cgroup import Cgroup
    from .options import Options
    from .wire import Line

_PATIENCE_MS = 100
"""A leash that has not acknowledged for so long counts as frozen where its deed is due."""
_PING_EVERY_MS = 50
_FIRST_PING_MS = 500
"""How long before an ask or a kill is due the leash is asked whether it is there."""
_KILL_ROUND_MS = 20


class LeashFailed(Exception):
    """The leash is dead or frozen; nothing of the tree is left."""


class Leashed:
    """The leash and the tree below it. ``on_message`` is told what the leash reports."""

    def __init__(
        self,
        line: Line,
        pid: int,
        options: Options,
        cgroup: Cgroup,
        on_message: Callable[[str, list[str]], None],
    ) -> None:
        self.pid = pid
        self.child_pid = 0
        self.is_started = False
        self.is_gone = False
        self.gone_why = ""
        self.status: int | None = None
        self._line = line
        self._options = options
        self._on_message = on_message
        self._watch = Watch(options.kill_after_ms, enforce=not options.warn_on_lost)
        self._tree = Tree(os.getpid(), cgroup)
        self._numbers = 0
        self._acknowledged = 0
        self._silent_since_ms: int | None = None
        self._pinged_ms = 0
        self._asked_ourselves = False
        self._is_reaped = False

    def fileno(self) -> int:
        """For ``poll``."""
        return self._line.fileno()

    @property
    def is_current(self) -> bool:
        """Whether the leash has acknowledged everything."""
        return self._silent_since_ms is None

    @property
    def wake_in_ms(self) -> int:
        """When ``check`` wants to be called again, at the latest."""
        if not self.is_started:
            return 60_000
        left_ms = self._watch.wake_at_ms - _FIRST_PING_MS - now_ms()
        return max(_KILL_ROUND_MS, left_ms)

    def send(self, word: str, *fields: object) -> None:
        """Send one message. A leash that cannot take it counts as silent."""
        self._numbers += 1
        self._line.send(word, self._numbers, *fields)
        if self._silent_since_ms is None:
            self._silent_since_ms = now_ms()

    def start(self, deadline_ms: int, ttl_ms: int, settings: dict[str, str]) -> None:
        """Have the command started."""
        self.is_started = True
        self._watch.hold(deadline_ms, ttl_ms)
        pairs = [f"{name}={value}" for name, value in settings.items()]
        self.send("start", deadline_ms, ttl_ms, *pairs)

    def hold(self, deadline_ms: int, ttl_ms: int) -> None:
        """The lease was renewed."""
        self._watch.hold(deadline_ms, ttl_ms)
        self.send("hold", deadline_ms, ttl_ms)

    def stop(self, why: str) -> None:
        """Have the tree asked to stop, and killed after ``--kill-after``."""
        self._watch.stop(now_ms(), why)
        self.send("stop", why)

    def kill(self, why: str) -> None:
        """Have the tree killed now."""
        self._watch.kill(now_ms(), why)
        self.send("kill", why)

    def check(self) -> None:
        """Read what the leash said, and step in where it does not.

        Raises ``LeashFailed`` when the agent had to kill the tree itself.
        """
        for message in self._line.receive():
            self._take(message)
        if self.is_gone:
            return
        if not self._line.is_open:
            self._kill_all()
            raise LeashFailed("the leash was killed")
        if self.is_started:
            self._step_in()

    def end(self) -> None:
        """Nothing of the tree is left: the leash is not needed any more, in whatever state it is.

        Ending it earlier would set free what it keeps.
        """
        if not self._is_reaped:
            send(self.pid, signal.SIGKILL)
        self._wait_for_leash()
        self._line.close()
        self._tree.cgroup.remove()

    def part(self) -> None:
        """Let the leash give the seat back by itself, and wait for nothing: the tree is gone."""
        self._line.close()

    def abandon(self) -> None:
        """Let the leash stop the tree and give the seat back by itself, and wait until it has."""
        self._line.close()
        self._wait_for_leash()

    def _wait_for_leash(self) -> None:
        """Once it has been waited for, its pid may be anybody's."""
        if self._is_reaped:
            return
        self._is_reaped = True
        try:
            os.waitpid(self.pid, 0)
        except ChildProcessError:
            return  # whoever started us ignores SIGCHLD, so the kernel has waited already

    def _take(self, message: list[str]) -> None:
        word, *fields = message
        if word == "ack":
            self._acknowledged = int(fields[0])
            is_current = self._acknowledged == self._numbers
            self._silent_since_ms = None if is_current else now_ms()
            return
        if word == "started":
            self.child_pid = self._tree.group = int(fields[0])
        elif word == "exited":
            self.status = int(fields[0])
            self._tree.group = 0
        elif word == "gone":
            self.is_gone = True
            self.gone_why = fields[0]
        self._on_message(word, fields)

    def _step_in(self) -> None:
        now = now_ms()
        due = self._watch.due(now)
        if now < self._watch.wake_at_ms - _FIRST_PING_MS and due != KILL:
            return
        if self._silent_since_ms is None and now >= self._pinged_ms + _PING_EVERY_MS:
            self._pinged_ms = now
            self.send("ping")
        if (
            due == REST
            or self._silent_since_ms is None
            or now < self._silent_since_ms + _PATIENCE_MS
        ):
            return
        if due == ASK and not self._asked_ourselves:
            self._asked_ourselves = True
            until_ms = self._watch.kill_at_ms
            self._tree.ask(self._options.stop_signal, until_ms=until_ms, spare=self.pid)
        elif due == KILL:
            self._kill_all()
            raise LeashFailed("the leash does not answer")

    def _kill_all(self) -> None:
        """Kill leash and tree, and wait until no descendant lives."""
        pause = select.poll()
        self._tree.kill()
        if not self._is_reaped:
            # Without /proc nobody finds it, and outside Linux the command does not become our child
            # when it dies: so neither may depend on who is left to be waited for.
            send(self.pid, signal.SIGKILL)
        while self._reap():
            self._tree.kill()
            pause.poll(_KILL_ROUND_MS)
        self._tree.cgroup.remove()
        self.is_gone = True

    def _reap(self) -> bool:
        """Wait for all that have ended. Whether any descendant is left."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self.pid:
                    self._is_reaped = True
                elif pid == self.child_pid:
                    self.status = status
                    self._tree.group = 0
        except ChildProcessError:
            return False
