"""The leash: parent of the command, which stops the whole tree in time whatever the agent does.

It is forked before the agent loads the network, holds no connection, and wakes up a few times a
second at most. It knows the deadline of the agent's last ``hold`` and follows one ``Watch``:

* the deadline comes (agent frozen, or no server): the tree is asked, then killed;
* the agent is dead: the tree is asked at once, killed after the grace, the seat given back;
* the command ends and leaves descendants: they are named and stopped, it was their seat too.

Messages are read before time is looked at. A leash that was frozen for a moment then meets the
newest deadline first, and a short freeze harms nobody.
"""

from __future__ import annotations

import os
import select
import signal

from lessor_protocol import lease

from lessor.clock import now_ms
from lessor.errors import UsageError

from . import linux
from .launch import Unstartable, command_environment, launch, let_go_of_streams
from .signals import FORWARDED, Inbox, ignore
from .tree import Tree, describe, send_group
from .watch import ASK, KILL, REST, Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from lessor.config import ClientConfig

    from .cgroup import Cgroup
    from .narrator import Narrator
    from .options import Options
    from .signals import Inherited
    from .terminal import Terminal
    from .wire import Line

_LONGEST_POLL_MS = 250
# A poll's own time-out stands still while the machine is suspended; short ones notice the resume.
_KILL_ROUND_MS = 20
_SETTLING_MS = 100
"""Helpers that end by themselves when the command does (multiprocessing has some) get this long
before they count as left over."""
_STARTING_MS = 200
"""After this the leash has time to leave the command's control group."""
_AGENT_SILENCE_MS = 1_000
"""How long after the end of the tree the agent may take to say that it gives the seat back; and for
how much longer than that takes at most it may then go on, before the seat is given back for it."""

WHY_AGENT_DEAD = "agent"
WHY_LEFTOVER = "leftover"


class Leash:
    """``run`` never returns."""

    def __init__(
        self,
        *,
        line: Line,
        path: str,
        options: Options,
        config: ClientConfig,
        lease_id: bytes,
        inherited: Inherited,
        terminal: Terminal,
        cgroup: Cgroup,
        narrator: Narrator,
    ) -> None:
        self._line = line
        self._path = path
        self._options = options
        self._config = config
        self._lease_id = lease_id
        self._inherited = inherited
        self._terminal = terminal
        self._narrator = narrator
        self._watch = Watch(options.kill_after_ms, enforce=not options.warn_on_lost)
        self._tree = Tree(os.getpid(), cgroup)
        self._inbox = Inbox()
        self._child_pid = 0
        self._started_ms = lease.NEVER
        self._child_ended_ms: int | None = None
        self._ended_by_signal = False
        self._is_asked_for = False
        self._is_alive = False
        self._was_asked = False
        self._kill_rounds = 0
        self._leftover_is_asked = False
        self._agent_has_until_ms: int | None = None
        self._agent_is_dead = False

    def run(self) -> NoReturn:
        """Serve the agent until the tree is gone and the seat is given back, or will be by it."""
        code = 1
        try:
            ignore((*FORWARDED, signal.SIGTTIN, signal.SIGTTOU))
            linux.set_name("lessor-leash")
            linux.adopt_orphans()
            self._inbox.accept((signal.SIGCHLD,))
            self._tree.cgroup.make()
            self._tree.cgroup.enter()
            while not self._is_finished():
                self._poll()
                self._step()
            code = 0
        except Exception as error:  # noqa: BLE001 - the last chance to say why; the tree dies below
            self._narrator.fail(f"the leash failed: {type(error).__name__}: {error}")
        finally:
            if self._is_alive:
                self._tree.kill()
            os._exit(code)

    def _step(self) -> None:
        self._inbox.take()
        if self._is_alive:
            # First, so that a command that ended by itself does not count as stopped.
            self._reap()
        for message in self._line.receive():
            self._take(message)
        if not self._line.is_open and not self._agent_is_dead:
            self._agent_is_dead = True
            if self._is_alive:
                # At once: a script around us goes on now, and may want to read.
                self._terminal.take_back(self._child_pid)
                self._narrator.fail("the agent is gone: the command is stopped")
                self._watch.stop(now_ms(), WHY_AGENT_DEAD)
        if self._is_alive:
            if now_ms() >= self._started_ms + _STARTING_MS:
                self._tree.cgroup.leave()
            self._look_for_leftover()
            self._follow_watch()

    # What the agent says ------------------------------------------------------------------------

    def _take(self, message: list[str]) -> None:
        word, number, *fields = message
        if word == "asked":
            self._is_asked_for = True
        elif word == "start":
            self._start(int(fields[0]), int(fields[1]), fields[2:])
        elif word == "hold":
            self._watch.hold(int(fields[0]), int(fields[1]))
        elif word == "mine":
            self._agent_has_until_ms = now_ms() + lease.RELEASE_PATIENCE_MS + _AGENT_SILENCE_MS
        elif self._is_alive:
            self._steer(word, fields)
        # Last: the acknowledgement says that the message counts already.
        self._line.send("ack", number)

    def _steer(self, word: str, fields: list[str]) -> None:
        if word == "stop":
            self._watch.stop(now_ms(), fields[0])
        elif word == "kill":
            self._watch.kill(now_ms(), fields[0])
        elif word == "signal" and self._tree.group:
            send_group(self._tree.group, int(fields[0]))
        elif word == "resume" and self._tree.group:
            if fields[0] == "1":
                self._terminal.give(self._tree.group)
            send_group(self._tree.group, signal.SIGCONT)

    def _start(self, deadline_ms: int, ttl_ms: int, settings: list[str]) -> None:
        self._watch.hold(deadline_ms, ttl_ms)
        now = now_ms()
        if not self._line.is_open or self._watch.due(now) != REST or now >= deadline_ms:
            # The agent died meanwhile, or one of us was frozen: nothing is to be started now.
            self._gone(self._watch.why or WHY_AGENT_DEAD)
            return
        added = dict(setting.split("=", 1) for setting in settings)
        self._is_alive = True
        try:
            self._child_pid = launch(
                path=self._path,
                argv=self._options.command,
                environ=command_environment(os.environ, added),
                inherited=self._inherited,
                terminal=self._terminal,
            )
        except Unstartable as error:
            self._is_alive = False
            self._line.send("unstartable", error.errno, error)
            self._gone("")
            return
        self._tree.group = self._child_pid
        self._started_ms = now_ms()
        let_go_of_streams()
        self._line.send("started", self._child_pid)

    # The tree -----------------------------------------------------------------------------------

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                # Every orphan below us is our child: having none means that no descendant lives.
                self._gone(self._watch.why)
                return
            if pid == 0:
                return
            if pid == self._child_pid:
                self._child_changed(status)

    def _child_changed(self, status: int) -> None:
        if os.WIFSTOPPED(status):
            self._line.send("stopped", os.WSTOPSIG(status))
            return
        # From now on the number may belong to another group; who remains is found by descent.
        self._tree.group = 0
        self._ended_by_signal = os.WIFSIGNALED(status)
        self._child_ended_ms = now_ms()
        self._line.send("exited", status)

    def _look_for_leftover(self) -> None:
        """Once the command has ended: who is still there must stop, or is asked again."""
        now = now_ms()
        if self._child_ended_ms is None or now < self._child_ended_ms + _SETTLING_MS:
            return
        if self._leftover_is_asked:
            return
        self._leftover_is_asked = True
        members = self._tree.members()
        if self._watch.is_stopping:
            # Some may have been started after the others were asked.
            self._ask()
        elif members:
            self._line.send("leftover", len(members), describe(members))
            self._watch.stop(now, WHY_LEFTOVER)
        else:
            self._leftover_is_asked = False  # caught between living and being waited for

    def _follow_watch(self) -> None:
        due = self._watch.due(now_ms())
        if due == REST:
            return
        if not self._was_asked:
            self._was_asked = True
            self._line.send("stopping", self._watch.why)
            if due == ASK:
                self._ask()
        if due == KILL:
            self._kill_rounds += 1
            self._tree.kill()

    def _ask(self) -> None:
        self._tree.ask(self._options.stop_signal, until_ms=self._watch.kill_at_ms)

    def _gone(self, why: str) -> None:
        self._is_alive = False
        self._agent_has_until_ms = now_ms() + _AGENT_SILENCE_MS
        self._tree.cgroup.remove()  # in vain while we are in it; then it is done by who comes last
        if self._terminal.take_back(self._child_pid) and self._ended_by_signal:
            self._terminal.repair()
        self._line.send("gone", why)

    # The end ------------------------------------------------------------------------------------

    def _is_finished(self) -> bool:
        if self._is_alive:
            return False
        agent_is_silent = (
            self._agent_has_until_ms is not None and now_ms() >= self._agent_has_until_ms
        )
        if not self._agent_is_dead and not agent_is_silent:
            return False
        if self._is_asked_for and not self._options.offline:
            self._give_back()  # the seat of an offline license is free when this process ends
        self._tree.cgroup.leave()
        self._tree.cgroup.remove()
        return True

    def _give_back(self) -> None:
        """The agent is dead or frozen, so this process loads the network after all."""
        let_go_of_streams()  # who reads what the agent wrote need not wait for us
        from lessor.server import Server  # noqa: PLC0415 - the leash stays without the network while it waits

        from .giving_back import give_back  # noqa: PLC0415 - likewise

        state = lease.begin(now_ms(), wait_ms=0, connect_timeout_ms=0)
        server = Server(self._config)
        try:
            given_back = give_back(server, self._lease_id, state, _sleep_until)
        except UsageError:  # certificates that were there when the run began, for one
            given_back = False
        if given_back:
            self._narrator.say("the seat was given back")
        else:
            self._narrator.fail("no server took the seat back; it is free again after its deadline")
        server.close()

    def _poll(self) -> None:
        poller = select.poll()
        poller.register(self._inbox.fileno(), select.POLLIN)
        if self._line.is_open:
            poller.register(self._line.fileno(), select.POLLIN)
        poller.poll(self._poll_ms())

    def _poll_ms(self) -> int | None:
        now = now_ms()
        if self._agent_has_until_ms is not None:
            return max(0, self._agent_has_until_ms - now)
        if not self._is_alive:
            return None  # waiting for a seat, or for the agent to end: nothing is due by time
        if self._child_ended_ms is not None or self._watch.due(now) == KILL:
            # Ever more slowly: what does not die is asleep in the kernel, or not ours to kill.
            return min(_KILL_ROUND_MS * max(1, self._kill_rounds), _LONGEST_POLL_MS)
        return max(0, min(self._watch.wake_at_ms - now, _LONGEST_POLL_MS))


def _sleep_until(until_ms: int) -> None:
    select.poll().poll(max(0, min(until_ms - now_ms(), _LONGEST_POLL_MS)))
