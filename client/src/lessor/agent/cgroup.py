"""A control group of its own for the command's tree, where one can be made.

Killing a control group is one atomic step of the kernel: no fork can outrun it, and it reaches
processes of other users. Where none can be made (no cgroup v2, no right to, an old kernel) every
call here quietly does nothing, and the tree is found through ``/proc``.

Moving a process from group to group can take 10 ms, being born in one takes none. So the leash
enters the group while the agent is still loading the network, and leaves it some time after the
command was born there, at the latest before it kills all that is in it.
"""

from __future__ import annotations

import os

PREFIX = "lessor-"
_MYSELF = b"0"
_ID_BYTES = 4


class Cgroup:
    """The path of a group that may or may not exist.

    Agent and leash name the same one, because it is named before the fork.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        self._is_inside = False

    @classmethod
    def below_own(cls, name: str) -> Cgroup:
        """A group called ``name`` below this process' own one."""
        own = _own_directory()
        return cls(own and f"{own.rstrip('/')}/{name}")

    @classmethod
    def of_run(cls, lease_id: bytes) -> Cgroup:
        """The group of this process' run.

        The pid says when it is over. It does not tell it from a run of the same pid in another pid
        namespace (a container) that shares our control group, whose tree must not be killed. The
        random id of the lease does.
        """
        return cls.below_own(f"{PREFIX}{os.getpid()}-{lease_id[-_ID_BYTES:].hex()}")

    def make(self) -> None:
        """Try to make it; without success ``path`` becomes ``None``."""
        if self.path is None:
            return
        if not _make(self.path):
            self.path = None
            return
        if not os.access(f"{self.path}/cgroup.kill", os.W_OK):
            self.remove()
            self.path = None
            return
        _sweep(self.path.rpartition("/")[0])

    def enter(self) -> None:
        """Move this process, and so the children it is going to have, into the group."""
        if self.path is None:
            return
        self._is_inside = _write(f"{self.path}/cgroup.procs", _MYSELF)
        if not self._is_inside and _make(self.path):
            # A run of another pid namespace took it for the remains of one that is over.
            self._is_inside = _write(f"{self.path}/cgroup.procs", _MYSELF)
        if not self._is_inside:
            self.remove()
            self.path = None

    def leave(self) -> None:
        """Move this process, not its children, back to where it was."""
        if self._is_inside and self.path is not None:
            above = self.path.rpartition("/")[0]
            if not _write(f"{above}/cgroup.procs", _MYSELF):
                self.path = None  # a kill would hit ourselves: do without
            self._is_inside = False

    def kill(self) -> bool:
        """SIGKILL to all in it, except that this process leaves before. Whether it was done."""
        self.leave()
        return self.path is not None and _write(f"{self.path}/cgroup.kill", b"1")

    def remove(self) -> None:
        """Take the group away if nobody is in it."""
        if self.path is not None:
            _remove(self.path)


def _make(path: str) -> bool:
    """Whether it was made just now. One that is there already is somebody else's."""
    try:
        os.mkdir(path)  # noqa: PTH102 - pathlib costs 3 ms at every start
    except OSError:
        return False
    return True


def _write(path: str, data: bytes) -> bool:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.write(fd, data) == len(data)
    except OSError:
        return False
    finally:
        os.close(fd)


def _remove(path: str) -> None:
    # A run inside this one may have been killed before it could clear up: hence a second try.
    for is_last in (False, True):
        try:
            os.rmdir(path)  # noqa: PTH106 - as above
        except OSError:
            if is_last:
                return
            for name in _inner_groups(path):
                _remove(f"{path}/{name}")
        else:
            return


def _sweep(path: str) -> None:
    """Remove empty groups whose run is over: where all was killed, nobody did.

    A run of another pid namespace looks as if it were over. The kernel removes no group that
    anybody is in; one that was made and not entered yet is made again by ``enter``.
    """
    for name in _inner_groups(path):
        pid = name.removeprefix(PREFIX).partition("-")[0]
        is_over = pid.isdigit() and not os.access(f"/proc/{pid}", os.F_OK)
        if is_over and os.access("/proc/self", os.F_OK):
            _remove(f"{path}/{name}")


def _inner_groups(path: str) -> list[str]:
    try:
        return [name for name in os.listdir(path) if name.startswith(PREFIX)]  # noqa: PTH208 - as above
    except OSError:
        return []


def _own_directory() -> str | None:
    try:
        with open("/proc/self/cgroup", "rb") as file:  # noqa: PTH123 - as above
            memberships = file.read()
        with open("/proc/self/mountinfo", "rb") as file:  # noqa: PTH123 - as above
            mounts = file.read()
    except OSError:
        return None
    return locate(memberships, mounts)


def locate(memberships: bytes, mounts: bytes) -> str | None:
    """The directory of our own v2 group, from ``/proc/self/cgroup`` and ``/proc/self/mountinfo``.

    ``None`` without cgroup v2, or when our group lies outside of what is mounted here.
    """
    own = next((line[3:] for line in memberships.splitlines() if line.startswith(b"0::")), None)
    if own is None or own.startswith(b"/.."):
        return None
    for line in mounts.splitlines():
        before, mark, after = line.partition(b" - ")
        fields = before.split()
        if not mark or len(fields) < 5 or not after.startswith(b"cgroup2 "):
            continue
        root, point = fields[3].rstrip(b"/"), fields[4]
        if b"\\" in point:
            continue  # an escaped space or the like: not worth decoding for
        if own == root or own.startswith(root + b"/"):
            return os.fsdecode(point + own[len(root) :])
    return None
