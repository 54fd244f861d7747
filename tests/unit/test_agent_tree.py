"""Reading process trees and control groups from what the kernel shows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lessor.agent import tree
from lessor.agent.cgroup import Cgroup, _sweep, locate
from lessor.agent.tree import Entry, Tree, below, describe, parse_stat, read_entry, walk
from lessor.clock import now_ms
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REST_OF_STAT = b" ".join(str(n).encode() for n in range(5, 24))


def entry(pid: int, parent: int, *, state: str = "S") -> Entry:
    return Entry(pid=pid, name=f"p{pid}", state=state, parent=parent, group=pid, started="1")


def test_a_stat_line_is_read() -> None:
    found = parse_stat(b"812 (pytest) S 811 800 " + REST_OF_STAT)
    assert found is not None
    assert (found.pid, found.name, found.state) == (812, "pytest", "S")
    assert (found.parent, found.group) == (811, 800)


def test_a_name_may_look_like_the_rest_of_the_line() -> None:
    found = parse_stat(b"812 (a) R 1 1 (b) S 811 800 " + REST_OF_STAT)
    assert found is not None
    assert found.name == "a) R 1 1 (b"
    assert found.parent == 811


@given(st.binary(max_size=100))
def test_what_is_no_stat_line_is_no_process(data: bytes) -> None:
    if b"(" not in data:
        assert parse_stat(data) is None


def test_this_process_has_an_entry() -> None:
    found = read_entry(os.getpid())
    assert found is not None
    assert found.parent == os.getppid()
    assert found.group == os.getpgrp()


def test_all_descendants_are_found_and_nobody_else() -> None:
    processes = [entry(5, 3), entry(3, 2), entry(2, 1), entry(4, 1), entry(6, 5), entry(1, 0)]
    assert [one.pid for one in below(2, processes)] == [3, 5, 6]


def test_zombies_are_not_alive_but_their_children_count() -> None:
    processes = [entry(3, 2, state="Z"), entry(4, 3)]
    assert [one.pid for one in below(2, processes)] == [4]


def test_a_circle_in_a_torn_listing_ends() -> None:
    assert [one.pid for one in below(2, [entry(3, 2), entry(2, 3)])] == [3, 2]


def test_many_are_named_briefly() -> None:
    assert describe([entry(1, 0)]) == "p1 (pid 1)"
    assert describe([entry(n, 0) for n in range(10)]).endswith("p7 (pid 7) and 2 more")


# Real trees --------------------------------------------------------------------------------------

FAMILY = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        print("ready", flush=True)
    time.sleep(1000)
time.sleep(1000)
"""


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    """A child in a group of its own, its child in another session, and the child of that."""
    child = subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, process_group=0
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    living = [child.pid, *(one.pid for one in walk(child.pid))]
    yield child
    for pid in living:
        tree.send(pid, signal.SIGKILL)
    child.stdout.close()
    child.wait()


def test_a_tree_is_found_without_a_look_at_all_other_processes(
    family: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [one.pid for one in below(family.pid, tree.all_processes())]
    monkeypatch.setattr(tree, "all_processes", lambda: pytest.fail("looked at strangers"))
    assert [one.pid for one in walk(family.pid)] == whole
    assert len(whole) == 2


def test_where_the_kernel_lists_no_children_all_processes_are_read(
    family: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(tree, "_children", lambda _: pytest.fail("there is no such file"))
    assert len(list(walk(family.pid))) == 2


def test_who_was_not_asked_in_time_is_left_to_the_kill(family: subprocess.Popen[bytes]) -> None:
    stopping = Tree(family.pid, Cgroup(None))
    stopping.ask(signal.SIGTERM, until_ms=now_ms() - 1)
    assert len(stopping.members()) == 2
    stopping.ask(signal.SIGTERM, until_ms=now_ms() + 60_000)
    wait_until(lambda: len(stopping.members()) < 2, what="the one that listens to go")


def test_the_process_group_is_killed_before_anything_that_may_have_to_wait(
    family: subprocess.Popen[bytes],
) -> None:
    class Busy(Cgroup):
        def kill(self) -> bool:
            killed.append(family.wait(10))
            return True

    killed: list[int] = []
    stopping = Tree(os.getpid(), Busy(None))
    stopping.group = family.pid
    stopping.kill()
    assert killed == [-signal.SIGKILL]


MOUNTS = (
    b"30 23 0:26 / /proc rw - proc proc rw\n"
    b"38 31 0:31 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
)


def test_the_own_group_is_found_below_the_mount() -> None:
    assert locate(b"9:name=systemd:/x\n0::/\n", MOUNTS) == "/sys/fs/cgroup/unified/"
    assert locate(b"0::/user/1\n", MOUNTS) == "/sys/fs/cgroup/unified/user/1"


def test_a_mount_of_a_part_shows_that_part() -> None:
    mounts = b"38 31 0:31 /docker/7 /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
    assert locate(b"0::/docker/7/a\n", mounts) == "/sys/fs/cgroup/a"
    assert locate(b"0::/docker/77\n", mounts) is None


def test_no_group_is_found_where_there_is_none_to_use() -> None:
    assert locate(b"9:name=systemd:/\n", MOUNTS) is None
    assert locate(b"0::/../outside\n", MOUNTS) is None
    assert locate(b"0::/a\n", b"30 23 0:26 / /proc rw - proc proc rw\n") is None
    assert locate(b"0::/a\n", b"nonsense\n\n - cgroup2\n") is None


def test_a_directory_that_is_no_control_group_is_quietly_not_used(tmp_path: Path) -> None:
    cgroup = Cgroup(str(tmp_path / "lessor-1"))
    cgroup.make()
    cgroup.enter()
    assert cgroup.path is None
    assert not cgroup.kill()
    cgroup.leave()
    cgroup.remove()
    assert not list(tmp_path.iterdir())


def test_two_runs_of_the_same_pid_name_different_control_groups() -> None:
    """As in two containers that share a writable control group."""
    names = {Cgroup.of_run(lease_id).path for lease_id in (bytes(16), bytes(15) + b"\x01")}
    assert len(names) == 2 or names == {None}


def test_a_control_group_that_is_there_already_is_somebody_elses(tmp_path: Path) -> None:
    path = tmp_path / "lessor-7-00000000"
    path.mkdir()
    (path / "cgroup.kill").touch()
    cgroup = Cgroup(str(path))
    cgroup.make()
    assert cgroup.path is None


def test_the_groups_of_dead_pids_are_swept_away_and_others_stay(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    kept = {f"lessor-{os.getpid()}-00000001", "lessor-nobody", "other"}
    for name in (*kept, f"lessor-{dead.pid}-00000002", f"lessor-{dead.pid}"):
        (tmp_path / name).mkdir()
    _sweep(str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == kept


FIRST_THREAD_ENDS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(1000,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_process_whose_first_thread_has_ended_lives_and_is_killed() -> None:
    script = f"{sys.executable} -c '{FIRST_THREAD_ENDS}' & exec sleep 1000"
    with subprocess.Popen(["sh", "-c", script]) as root:
        below_root = Tree(root.pid, Cgroup(None))
        try:
            wait_until(lambda: [one for one in below_root.members() if one.state == "Z"])
            below_root.kill()
            wait_until(lambda: not below_root.members(), what="its death")
        finally:
            below_root.kill()
            root.kill()


def test_a_zombie_is_dead() -> None:
    with subprocess.Popen(["true"]) as process:
        wait_until(lambda: getattr(read_entry(process.pid), "state", "") == "Z", what="its end")
        found = read_entry(process.pid)
        assert found is not None
        assert found.is_dead
