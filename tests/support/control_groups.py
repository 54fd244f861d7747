"""Control groups that a test makes: to freeze who is in it, or to have a full process table.

Each is a directory of its own below this process' group, with nobody in it but what the test puts
there. Where none can be made (no right, no such controller), making one raises ``OSError``.
"""

from __future__ import annotations

import os
import signal
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from .waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

V1 = "v1"
V2 = "v2"


class ControlGroup:
    """One group. ``wrapper`` goes before a command and puts it into the group."""

    def __init__(self, parent: Path) -> None:
        # Not named as a run's own groups are: those are swept away by other runs once empty.
        self.path = parent / f"test-of-lessor-{uuid.uuid4().hex[:8]}"
        self.path.mkdir()
        enter = 'echo $$ > "$0" && exec "$@"'
        self.wrapper = ("sh", "-c", enter, str(self.path / "cgroup.procs"))

    def read(self, name: str) -> str:
        """What one of its files says."""
        return (self.path / name).read_text().strip()

    def write(self, name: str, value: str) -> None:
        """Set one of its files."""
        (self.path / name).write_text(value)

    def end(self) -> None:
        """Kill whoever is in it or below it, and remove it."""
        wait_until(self._is_removed, what=f"{self.path} to be empty")

    def _is_removed(self) -> bool:
        for group in (self.path, *_below(self.path)):
            for pid in (group / "cgroup.procs").read_text().split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    continue
        try:
            for group in (*_below(self.path), self.path):
                group.rmdir()
        except OSError:
            return False
        return True


class Freezer(ControlGroup):
    """Everything in it can be frozen and thawed, as ``docker pause`` does."""

    def __init__(self, version: str) -> None:
        super().__init__(_own(V2) if version == V2 else _own(V1, "freezer"))
        self._is_v2 = version == V2
        if not (self.path / ("cgroup.freeze" if self._is_v2 else "freezer.state")).exists():
            self.end()
            raise OSError("this kernel cannot freeze a control group")

    def freeze(self) -> None:
        """Returns when nothing in it runs any more."""
        if self._is_v2:
            self.write("cgroup.freeze", "1")
            wait_until(lambda: "frozen 1" in self.read("cgroup.events"), what="the group to freeze")
        else:
            self.write("freezer.state", "FROZEN")
            wait_until(lambda: self.read("freezer.state") == "FROZEN", what="the group to freeze")

    def thaw(self) -> None:
        """Let all run on."""
        if self._is_v2:
            self.write("cgroup.freeze", "0")
        else:
            self.write("freezer.state", "THAWED")

    def end(self) -> None:
        """Who is frozen cannot die."""
        self.thaw()
        super().end()


class ProcessTable(ControlGroup):
    """At most ``size`` processes, threads counted, can be in it: a table that gets full."""

    def __init__(self, size: int) -> None:
        try:
            own = _own(V1, "pids")
        except OSError:
            own = _own(V2)
        super().__init__(own)
        if not (self.path / "pids.max").exists():
            self.end()
            raise OSError("the pids controller is not on here")
        self.size = size
        self.write("pids.max", str(size))

    @property
    def is_full(self) -> bool:
        """Whether a fork fails now."""
        return int(self.read("pids.current")) >= self.size


def _below(path: Path) -> list[Path]:
    """Groups in a group, the innermost first."""
    inner = [one for one in path.iterdir() if one.is_dir()]
    return [found for one in inner for found in (*_below(one), one)]


def _own(version: str, controller: str = "") -> Path:
    """The directory of this process' own group."""
    kind = "cgroup2" if version == V2 else "cgroup"
    for mount in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = mount.partition(" - ")
        root, point = before.split()[3:5]
        found, _, options = after.split(" ")
        if found == kind and (not controller or controller in options.split(",")):
            own = next(group for names, group in _memberships() if controller in names)
            if own == root or own.startswith(root.rstrip("/") + "/"):
                return Path(point + own[len(root.rstrip("/")) :])
    raise OSError(f"no control group {version} {controller} is mounted here")


def _memberships() -> Iterator[tuple[list[str], str]]:
    """Controllers and path of each group that this process is in; v2 has the name ''."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, group = line.split(":", 2)
        yield names.split(","), group
