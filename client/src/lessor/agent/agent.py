"""The agent: renews the lease while the command runs, and serves signals and the leash.

It drives ``lessor_protocol.lease`` and decides nothing about deadlines itself. While a request is
in flight it goes on serving signals and the leash, see ``waiting``.
"""

from __future__ import annotations

import os
import signal

from lessor_protocol import lease
from lessor_protocol.errors import Problem
from lessor_protocol.lease_id import format_lease_id
from lessor_protocol.messages import Renewal

from lessor import exits
from lessor.clock import now_ms
from lessor.errors import LessorError, NoAnswer, UsageError
from lessor.listening import Listening
from lessor.server import Server

from .giving_back import give_back
from .job import Job
from .launch import Unstartable
from .leashed import Leashed, LeashFailed
from .notices import Notices
from .seeking import Seeker
from .signals import ENDING, signal_name
from .telling import Telling
from .waiting import Waiting
from .watch import AT_DEADLINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lessor_protocol.messages import Lease, Lost, RenewAnswer

    from lessor.config import ClientConfig
    from lessor.offline.serving import OfflineServer

    from .cgroup import Cgroup
    from .idleness import Idleness
    from .narrator import Events, Narrator
    from .options import Options
    from .signals import Inbox
    from .terminal import Terminal
    from .wire import Line

_LAST_TRY_MS = 1_000
"""After no server was reached: a lost reply may have granted a seat, so one release is tried."""

WHY_LOST = "lost"
_LOSS = frozenset({WHY_LOST, AT_DEADLINE})


class Withdrawn(Exception):
    """A signal came while there was no command yet."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal_name(signum))
        self.signum = signum


class TreeGone(Exception):
    """Nothing of the command is left: the request in flight has lost its purpose."""


class Agent:
    """One run, from the first request to the exit code."""

    def __init__(
        self,
        *,
        options: Options,
        license: str,
        config: ClientConfig,
        lease_id: bytes,
        leash_pid: int,
        line: Line,
        inbox: Inbox,
        terminal: Terminal,
        cgroup: Cgroup,
        narrator: Narrator,
        events: Events,
        offline: OfflineServer | None = None,
    ) -> None:
        self._options = options
        self._lease_id = lease_id
        self._inbox = inbox
        self._narrator = narrator
        self._events = events
        self._telling = Telling(
            narrator,
            events,
            warn_on_lost=options.warn_on_lost,
            why_it_ends=offline.why_it_ends if offline else "",
        )
        self._leashed = Leashed(line, leash_pid, options, cgroup, self._on_leash_message)
        waiting = Waiting(self._leashed, inbox, self._serve)
        self._pause = waiting.pause
        self._server: Server = offline or Server(config, wait=waiting)
        self._job = Job(self._leashed, terminal, inbox, narrator)
        self._notices = Notices(
            options.on_notice,
            options.notice_signal,
            config.environ,
            narrator,
            events,
            send_signal=lambda signum: self._leashed.send("signal", signum),
        )
        self._listening = Listening(is_possible=offline is None)
        self._settings: dict[str, str] = {}
        self._seeker = Seeker(
            options=options,
            license=license,
            environ=config.environ,
            lease_id=lease_id,
            server=self._server,
            narrator=narrator,
            events=events,
            pause=self._pause,
            on_ask=lambda: self._leashed.send("asked"),
        )
        self._state = self._seeker.state
        self._is_seeking = True
        self._is_cut_short = False
        self._idleness: Idleness | None = None
        self._unstartable: Unstartable | None = None

    def run(self) -> int:
        """The exit code of ``lessor run``.

        Raises ``LessorError`` for wrong usage that shows before the command is started.
        """
        try:
            return self._run()
        except Withdrawn as withdrawn:
            self._narrator.say(f"{withdrawn}: no longer waiting for a seat")
            self._give_back(lease.RELEASE_PATIENCE_MS)
            return exits.BY_SIGNAL + withdrawn.signum
        except LeashFailed as failure:
            self._job.regain_terminal()
            self._telling.stopped("leash", None, leash=str(failure))
            self._give_back(lease.RELEASE_PATIENCE_MS)
            return exits.LESSOR_FAILED
        except Exception as error:
            # Whatever it is: once there is a command, the leash must stop the tree first.
            if isinstance(error, LessorError) and not self._leashed.is_started:
                self._give_back(_LAST_TRY_MS)
                raise
            self._narrator.fail(f"lessor failed: {type(error).__name__}: {error}")
            self._leashed.abandon()
            return exits.LESSOR_FAILED
        finally:
            self._notices.end()
            if self._is_cut_short:
                self._leashed.part()
            else:
                self._leashed.end()
            self._server.close()
            self._narrator.flush()
            self._events.flush()

    def _run(self) -> int:
        granted = self._seeker.seek()
        self._state = self._seeker.state
        if granted is None:
            code = self._seeker.explain_refusal()
            if self._state.code == lease.UNREACHABLE:
                self._give_back(_LAST_TRY_MS)
            elif self._seeker.may_stand_in_line or self._state.phase == lease.LOST:
                self._give_back(lease.RELEASE_PATIENCE_MS)
            return code
        self._is_seeking = False
        if granted.idle_timeout_ms:
            from .idleness import Idleness  # noqa: PLC0415 - few licenses have a time-out

            self._idleness = Idleness(now_ms())
        self._start(granted)
        self._hold(granted)
        self._leashed.send("mine")
        leashed = self._leashed
        self._telling.stopped(leashed.gone_why, leashed.status, is_lost=self._is_lost)
        if not self._give_back(lease.RELEASE_PATIENCE_MS):
            self._telling.not_returned()
        return self._exit_code()

    # Holding it ---------------------------------------------------------------------------------

    def _start(self, granted: Lease) -> None:
        self._telling.granted(granted)
        self._settings = {
            "LESSOR_LEASE_ID": format_lease_id(granted.lease_id),
            "LESSOR_FENCING_TOKEN": str(granted.token),
            "LESSOR_LICENSE": granted.license,
            "LESSOR_COUNT": str(granted.seats),
            "LESSOR_URL": self._server.url,
        }
        self._leashed.start(self._state.deadline_ms, self._state.ttl_ms, self._settings)

    def _hold(self, granted: Lease) -> None:
        """Keep the lease until the tree is gone, be it in the middle of a request."""
        try:
            while True:
                self._hold_on(granted)
        except TreeGone:
            return

    def _hold_on(self, granted: Lease) -> None:
        now = now_ms()
        self._state = lease.passed(self._state, now)
        if self._state.phase == lease.LOST and not self._telling.is_loss_told:
            self._telling.lost(self._state)
            if not self._options.warn_on_lost:
                self._leashed.stop(WHY_LOST)
        is_due = lease.next_request(self._state, now) == lease.SEND_RENEW
        if is_due and self._leashed.is_current:
            self._renew(granted, now)
        elif is_due:
            # The leash does not know the last deadline yet, so there must be no later one.
            self._pause(self._state.deadline_ms)
        elif wait_ms := self._listening.wait_ms(self._state, now):
            self._listen(wait_ms)
        else:
            self._pause(min(lease.wake_at_ms(self._state), self._listening.begins_ms(now)))

    def _listen(self, wait_ms: int) -> None:
        """Be told until shortly before the next renewal; signals and the leash are served."""
        news = self._listening.hear(
            self._server, self._lease_id, self._notices.last, wait_ms, self._state.due_ms
        )
        if news is not None and not self._take_lost(news.lost):
            self._take_notices(news.notices)

    def _renew(self, granted: Lease, now: int) -> None:
        timeout_ms = lease.attempt_timeout_ms(self._state, now)
        self._state = lease.sent(self._state, now)
        failures = self._state.failures
        try:
            renewal = Renewal(self._lease_id, granted.certificate, self._idle_ms(now))
            answer = self._server.renew([renewal], timeout_ms)
        except Problem as problem:
            self._state = lease.refused(
                self._state, now_ms(), code=problem.code, reason=problem.detail
            )
        except NoAnswer as error:
            self._state = lease.failed(self._state, now_ms(), reason=str(error))
        else:
            self._take_renewal(answer, failures)
        if self._state.failures > failures:
            self._telling.renew_failed(self._state)

    def _idle_ms(self, now: int) -> int | None:
        if self._idleness is None or not self._leashed.child_pid:
            return None
        return self._idleness.look(self._leashed.pid, self._leashed.child_pid, now)

    def _take_renewal(self, answer: RenewAnswer, failures: int) -> None:
        if self._take_lost(answer.lost):
            return
        if self._lease_id not in answer.renewed:
            reason = "the server's answer does not name the lease"
            self._state = lease.failed(self._state, now_ms(), reason=reason)
            return
        self._state = lease.renewed(
            self._state, now_ms(), ttl_ms=answer.ttl_ms, renew_after_ms=answer.renew_after_ms
        )
        if self._state.phase == lease.HELD:
            self._leashed.hold(self._state.deadline_ms, self._state.ttl_ms)
            if failures:
                self._telling.renewed_again()
        self._take_notices(answer.notices)

    def _take_lost(self, found: list[Lost]) -> bool:
        for lost in found:
            if lost.lease_id == self._lease_id:
                self._state = lease.lost(self._state, code=lost.code, reason=lost.reason)
                return True
        return False

    def _take_notices(self, found: list[object]) -> None:
        if found:
            settings = {**self._settings, "LESSOR_CHILD_PID": str(self._leashed.child_pid)}
            self._notices.take(found, settings)
            if self._idleness is not None:
                self._idleness.overlook_output(self._leashed.pid, self._leashed.child_pid)

    # Served while it waits ------------------------------------------------------------------------

    def _serve(self) -> None:
        """Raises ``TreeGone``, ``LeashFailed`` or ``Withdrawn`` when there is no going on."""
        self._narrator.flush()
        self._events.flush()
        was_gone = self._leashed.is_gone
        self._leashed.check()
        self._notices.reap()
        for signum in self._inbox.take():
            if not self._is_seeking and not was_gone:
                self._job.take_signal(signum)
            elif signum in ENDING:
                raise Withdrawn(signum)
            elif signum == signal.SIGTSTP:
                self._job.suspend_self()
        if self._leashed.is_gone and not was_gone:
            raise TreeGone

    def _on_leash_message(self, word: str, fields: list[str]) -> None:
        if word == "started":
            self._telling.started(self._leashed.pid, int(fields[0]))
        elif word == "unstartable":
            self._unstartable = Unstartable(int(fields[0]), fields[1])
        elif word == "stopped":
            self._job.child_stopped(int(fields[0]), self._state.deadline_ms)
        elif word == "leftover":
            self._telling.left_over(*fields)
        elif word == "stopping" and fields[0] == AT_DEADLINE:
            self._telling.stopping_at_deadline(self._state)

    # The end ------------------------------------------------------------------------------------

    def _give_back(self, patience_ms: int) -> bool:
        """Give back what may have been granted. A signal meanwhile leaves that to the leash."""
        if not self._seeker.has_asked:
            return True
        self._is_seeking = True
        try:
            done = give_back(
                self._server, self._lease_id, self._state, self._pause, patience_ms=patience_ms
            )
        except Withdrawn:
            self._is_cut_short = True
            return True
        except (LeashFailed, TreeGone, UsageError):
            return False
        if done:
            self._telling.returned(self._lease_id)
        return done

    @property
    def _is_lost(self) -> bool:
        """Whether the command was stopped, or never started, for want of a lease."""
        if self._unstartable is not None:
            return False
        return self._leashed.gone_why in _LOSS or self._leashed.status is None

    def _exit_code(self) -> int:
        if self._unstartable is not None:
            trouble = self._unstartable
            self._narrator.fail(f"{self._options.command[0]}: {trouble}")
            if trouble.is_shortage:
                return exits.LESSOR_FAILED
            return exits.NOT_FOUND if trouble.is_missing else exits.NOT_EXECUTABLE
        status = self._leashed.status
        if self._is_lost or status is None:
            return exits.LOST
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            return code
        self._job.pass_on(-code)
        return exits.BY_SIGNAL - code
