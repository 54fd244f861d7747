"""Signals and job control: what arrives at ``lessor run`` reaches the command as if it were it."""

from __future__ import annotations

import os
import signal

from lessor_protocol.duration import format_duration

from lessor.clock import now_ms

from .signals import FORWARDED, ignore
from .terminal import WANTS_TERMINAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .leashed import Leashed
    from .narrator import Narrator
    from .signals import Inbox
    from .terminal import Terminal

WHY_SIGNAL = "signal"


class Job:
    """The command as a job of this terminal, or of whoever sends signals."""

    def __init__(
        self, leashed: Leashed, terminal: Terminal, inbox: Inbox, narrator: Narrator
    ) -> None:
        self._leashed = leashed
        self._terminal = terminal
        self._inbox = inbox
        self._narrator = narrator
        self._interrupts = 0

    def take_signal(self, signum: int) -> None:
        """A signal came while the command runs.

        SIGTERM asks the whole tree to stop. A second SIGINT does so too, a third one kills it.
        On a terminal that the command has, Ctrl-C goes to the command and not through here.
        """
        if signum == signal.SIGTERM:
            self._leashed.stop(WHY_SIGNAL)
        elif signum == signal.SIGINT:
            self._interrupts += 1
            if self._interrupts == 1:
                self._leashed.send("signal", int(signum))
            elif self._interrupts == 2:
                self._narrator.say("interrupted again: the command is stopped")
                self._leashed.stop(WHY_SIGNAL)
            else:
                self._narrator.say("interrupted a third time: the command is killed")
                self._leashed.kill(WHY_SIGNAL)
        elif signum == signal.SIGCONT:
            self._resume()
        elif signum in FORWARDED:
            self._leashed.send("signal", int(signum))

    def child_stopped(self, signum: int, deadline_ms: int) -> None:
        """Job control stopped the command, so this job stops too, as the shell expects."""
        child_pid = self._leashed.child_pid
        if not self._terminal.exists:
            return
        if signum == signal.SIGSTOP and self._terminal.foreground() != child_pid:
            return  # somebody looks into it from elsewhere: that must not cost it its lease
        if signum in WANTS_TERMINAL and self._terminal.is_ours():
            self._leashed.send("resume", 1)
            return
        self._terminal.take_back(child_pid)
        left_ms = max(0, deadline_ms - now_ms())
        self._narrator.say(
            f"suspended; the seat is kept for {format_duration(left_ms)}, "
            "then the command is stopped"
        )
        if not self._suspend_group() and signum == signal.SIGTSTP:
            # No shell is there to continue us (the kernel does not stop orphaned groups).
            self._resume()

    def regain_terminal(self) -> None:
        """The command was killed and its leash with it, which would have taken it back."""
        if self._terminal.take_back(self._leashed.child_pid):
            self._terminal.repair()

    def suspend_self(self) -> None:
        """Ctrl-Z while there is no command yet."""
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        self._inbox.accept((signal.SIGTSTP,))

    def pass_on(self, signum: int) -> None:
        """The command died of Ctrl-C, which the terminal sent to its group alone.

        Whoever shares our group would have got it too. Under a script we then die of it
        ourselves: a shell that sees a plain exit code takes it that the interrupt was handled.
        """
        if signum != signal.SIGINT or not self._terminal.hand_over:
            return
        ignore((signal.SIGINT,))
        os.killpg(os.getpgrp(), signal.SIGINT)
        if os.getpgrp() != os.getpid():
            self._leashed.end()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)

    def _suspend_group(self) -> bool:
        """Stop our whole group, as the terminal would have done. Whether it happened."""
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.killpg(os.getpgrp(), signal.SIGTSTP)
        # Here the time passes. Being continued leaves a SIGCONT behind.
        self._inbox.accept((signal.SIGTSTP,))
        arrived = self._inbox.take()
        for signum in arrived:
            self.take_signal(signum)
        return signal.SIGCONT in arrived

    def _resume(self) -> None:
        """Continue the command, in the foreground if that is where we are."""
        self._leashed.send("resume", int(self._terminal.is_ours()))
