"""Notices: somebody asks this run to finish, and what the user wants done then.

The run keeps its seat all the while. What ``--on-notice`` starts is no part of the command's tree:
it runs beside it, without a seat, and does not outlive it by more than a moment.
"""

from __future__ import annotations

import os
import select
import signal

from lessor.clock import now_ms

from .launch import KEPT_FROM_COMMAND
from .signals import FORWARDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .narrator import Events, Narrator

FINISH = "finish"
IDLE = "idle"
_PATIENCE_MS = 2_000
"""How long a command of ``--on-notice`` may go on after the run has ended."""
_ROUND_MS = 20


class Notices:
    """What came, each once. ``send_signal`` sends one to the command."""

    def __init__(
        self,
        command: Sequence[str],
        signum: int | None,
        environ: Mapping[str, str],
        narrator: Narrator,
        events: Events,
        *,
        send_signal: Callable[[int], None],
    ) -> None:
        self._command = command
        self._signum = signum
        self._environ = environ
        self._narrator = narrator
        self._events = events
        self._send_signal = send_signal
        self._seen: set[object] = set()
        self.last = ""
        """The id of the last one that came."""
        self._pids: set[int] = set()

    def take(self, notices: Sequence[object], settings: Mapping[str, str]) -> None:
        """What a renewal brought; it brings the same again until the lease ends."""
        for notice in notices:
            if not isinstance(notice, dict):
                continue
            mark = notice.get("id")
            self.last = mark if isinstance(mark, str) else ""
            if mark is not None and mark in self._seen:
                continue
            self._seen.add(mark)
            self._act(notice, settings)

    def _act(self, notice: dict[object, object], settings: Mapping[str, str]) -> None:
        self._events.emit("notice", notice=notice)
        text = _text(notice, "text")
        if notice.get("code") != FINISH:
            if text:
                tell = self._narrator.fail if notice.get("code") == IDLE else self._narrator.say
                tell(text)
            return
        by = _text(notice, "by") or "somebody"
        self._narrator.fail(f"{by} asks this run to finish" + (f": {text}" if text else ""))
        if self._signum is not None:
            self._send_signal(self._signum)
        if self._command:
            told = {
                "LESSOR_NOTICE": FINISH.encode(),
                # As it came: the locale here may lack some of its letters.
                "LESSOR_NOTICE_BY": by.encode(),
                "LESSOR_NOTICE_TEXT": text.encode(),
            }
            self._start({**settings, **told})

    def _start(self, settings: Mapping[str, str | bytes]) -> None:
        kept = {k: v for k, v in self._environ.items() if k not in KEPT_FROM_COMMAND}
        try:
            pid = os.posix_spawnp(
                self._command[0],
                list(self._command),
                {**kept, **settings},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    # stdout is the command's alone.
                    (os.POSIX_SPAWN_DUP2, 2, 1),
                ],
                setpgroup=0,
                setsigmask=(),
                setsigdef=FORWARDED,
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            self._narrator.fail(f"--on-notice cannot start {self._command[0]}: {why}")
            return
        self._pids.add(pid)

    def reap(self) -> None:
        """Take leave of those that have ended."""
        for pid in list(self._pids):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                ended, status = pid, 0  # the agent had to kill all of its children
            if not ended:
                continue
            self._pids.discard(pid)
            code = os.waitstatus_to_exitcode(status)
            if code:
                self._narrator.say(f"the command of --on-notice ended with {code}")

    def end(self) -> None:
        """The run is over: wait a moment for what still runs, then kill it."""
        pause = select.poll()
        until_ms = now_ms() + _PATIENCE_MS
        while self._pids and now_ms() < until_ms:
            self.reap()
            if self._pids:
                pause.poll(_ROUND_MS)
        for pid in self._pids:
            try:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue
        self._pids.clear()


def _text(notice: dict[object, object], name: str) -> str:
    value = notice.get(name)
    return value if isinstance(value, str) else ""
