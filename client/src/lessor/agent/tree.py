"""The command's process tree: who is in it, how to ask it to stop, how to kill all of it.

The tree is everything below ``root_pid`` (the leash, or the agent once the leash is dead). Both
adopt orphans, so whoever double-forks or starts a session of its own is still below. That nothing
is left is not read here but waited for: ``waitpid`` says ``ECHILD`` only when no descendant lives.

Whoever stops a tree near its deadline has little time, and on a machine full of work hardly any
processor: 40 ms of it to look at a thousand strangers took seconds, and the tree outlived its
seat. So only the tree itself is looked at, and what can be done without looking is done first.
"""

from __future__ import annotations

import os
import signal

from lessor_protocol.lease import NEVER

from lessor.clock import now_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .cgroup import Cgroup

_NAMES_SHOWN = 8
_STOPPED = "T"
_DEAD = ("Z", "X")


class Entry:
    """One process, as ``/proc/PID/stat`` tells."""

    __slots__ = ("group", "name", "parent", "pid", "started", "state", "threads", "ticks")

    def __init__(
        self,
        *,
        pid: int,
        name: str,
        state: str,
        parent: int,
        group: int,
        started: str,
        ticks: int = 0,
        threads: int = 1,
    ) -> None:
        self.pid = pid
        self.name = name
        self.state = state
        self.parent = parent
        self.group = group
        self.started = started
        self.ticks = ticks
        """Of processor time, with that of its children that were waited for."""
        self.threads = threads

    @property
    def is_dead(self) -> bool:
        """Whether nothing of it runs. One whose first thread has ended looks like a zombie."""
        return self.state in _DEAD and self.threads <= 1


def parse_stat(data: bytes) -> Entry | None:
    """Read one ``stat`` line. The name may hold spaces and brackets: the last bracket ends it."""
    opening, closing = data.find(b"("), data.rfind(b")")
    fields = data[closing + 2 :].split()
    if opening < 0 or closing < opening or len(fields) < 20:
        return None
    return Entry(
        pid=int(data[:opening]),
        name=data[opening + 1 : closing].decode("utf-8", "replace"),
        state=fields[0].decode(),
        parent=int(fields[1]),
        group=int(fields[2]),
        started=fields[19].decode(),
        ticks=sum(int(field) for field in fields[11:15]),
        threads=int(fields[17]),
    )


def read_entry(pid: int | str) -> Entry | None:
    """The process now, or ``None`` if there is none of this pid (or no ``/proc``)."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return parse_stat(os.read(fd, 4096))
    except OSError:
        return None
    finally:
        os.close(fd)


def all_processes() -> list[Entry]:
    """Every process that ``/proc`` shows; none without ``/proc``."""
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - pathlib costs 3 ms at every start
    except OSError:
        return []
    found = (read_entry(name) for name in names if name.isdigit())
    return [entry for entry in found if entry is not None]


def below(root_pid: int, processes: list[Entry]) -> list[Entry]:
    """All descendants of ``root_pid``, parents before their children; without zombies."""
    children: dict[int, list[Entry]] = {}
    for entry in processes:
        children.setdefault(entry.parent, []).append(entry)
    found: list[Entry] = []
    parents = [root_pid]
    for parent in parents:  # grows while it is walked
        for entry in children.pop(parent, ()):
            parents.append(entry.pid)
            found.append(entry)
    return [entry for entry in found if not entry.is_dead]


def walk(root_pid: int) -> Iterator[Entry]:
    """The same, found step by step from the root: it costs what the tree costs.

    Who is born or adopted meanwhile may be missed. A kernel that does not list children has all
    processes read.
    """
    if not os.access("/proc/thread-self/children", os.R_OK):
        yield from below(root_pid, all_processes())
        return
    parents, seen = [root_pid], {root_pid}
    for parent in parents:  # grows while it is walked
        for pid in _children(parent):
            entry = None if pid in seen else read_entry(pid)
            if entry is None:
                continue
            seen.add(pid)
            parents.append(pid)
            if not entry.is_dead:
                yield entry


def _children(pid: int) -> list[int]:
    """Of all its threads: the kernel lists them by the one that has them."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - pathlib costs 3 ms at every start
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123 - as above
                found += map(int, file.read().split())
        except OSError:
            continue  # it has just ended
    return found


def describe(entries: list[Entry]) -> str:
    """``pytest (pid 812), sleep (pid 813) and 4 more``."""
    shown = [f"{entry.name} (pid {entry.pid})" for entry in entries[:_NAMES_SHOWN]]
    more = len(entries) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def send(pid: int, signum: int) -> None:
    """Signal a process that may have ended or belong to somebody else (after ``sudo``)."""
    try:
        os.kill(pid, signum)
    except (ProcessLookupError, PermissionError):
        return


def send_group(group: int, signum: int) -> None:
    """Signal a process group that may be gone, or partly somebody else's."""
    try:
        os.killpg(group, signum)
    except (ProcessLookupError, PermissionError):
        return


class Tree:
    """Everything below ``root_pid``. ``group`` is the command's process group, once it runs."""

    def __init__(self, root_pid: int, cgroup: Cgroup) -> None:
        self.root_pid = root_pid
        self.cgroup = cgroup
        self.group = 0
        self._was_killed = False

    def members(self, *, until_ms: int = NEVER) -> list[Entry]:
        """Who lives in it now, as far as there is time to find out."""
        found = []
        for entry in walk(self.root_pid):
            if now_ms() >= until_ms:
                break
            found.append(entry)
        return found

    def ask(self, signum: int, *, until_ms: int, spare: int = 0) -> None:
        """Ask all of it but ``spare``; who is stopped is continued, so that it can answer.

        At ``until_ms`` there is something better to do: who was not asked by then is killed.
        """
        if self.group:
            send_group(self.group, signum)
            send_group(self.group, signal.SIGCONT)
        for entry in self.members(until_ms=until_ms):
            if now_ms() >= until_ms:
                return
            if entry.group != self.group and entry.pid != spare:
                self._send(entry, signum)
                if entry.state == _STOPPED:
                    self._send(entry, signal.SIGCONT)

    def kill(self) -> None:
        """One round of SIGKILL, to be repeated until nothing is left.

        The process group first: a control group may have to wait for other control groups. Who
        forks meanwhile escapes a single round where there is no control group. Where there is one,
        only a second round has to look for whoever was moved out of it.
        """
        if self.group:
            send_group(self.group, signal.SIGKILL)
        if self.cgroup.kill() and not self._was_killed:
            self._was_killed = True
            return
        for entry in self.members():
            self._send(entry, signal.SIGKILL)

    def _send(self, entry: Entry, signum: int) -> None:
        """Signal ``entry``, unless its pid has passed on to another process by now.

        Children of the root keep their pid until the root has waited for them.
        """
        if entry.parent != self.root_pid:
            present = read_entry(entry.pid)
            if present is None or present.started != entry.started:
                return
        send(entry.pid, signum)
