"""Starting the background process behind ``lessor acquire``, where that fails."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

import pytest
from lessor import holder, holders
from lessor.config import ClientConfig
from lessor.errors import LessorError, UsageError
from lessor.wish import make_request
from lessor_protocol.lease import LeaseState


def holding(ca_file: str = "") -> holders.Holding:
    config = ClientConfig(("http://127.0.0.1:9",), "lsr_a_b", ca_file=ca_file)
    request = make_request({}, license="kre", pid=1, command="true")
    return holders.Holding(config, request, "", LeaseState(), kill_when_lost=False)


class Asleep:
    """A poll that nothing ends. The machine is suspended during the first one."""

    def __init__(self) -> None:
        self.now_ms = 100_000
        self.asked: list[int] = []

    def register(self, *_: object) -> None:
        pass

    def poll(self, timeout_ms: int) -> list[object]:
        self.asked.append(timeout_ms)
        self.now_ms += 60_000
        return []


def test_certificates_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handed_over = holding("certs/ca.pem").to_json()
    read = holders.Holding.from_json(handed_over, {})
    assert read.config.ca_file == str(tmp_path / "certs/ca.pem")
    assert holders.Holding.from_json(holding().to_json(), {}).config.ca_file == ""


def test_a_process_that_is_asked_to_stop_is_killed_right_after_a_suspend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asleep = Asleep()
    sent: list[signal.Signals] = []
    monkeypatch.setattr(holder, "now_ms", lambda: asleep.now_ms)
    monkeypatch.setattr(select, "poll", lambda: asleep)
    monkeypatch.setattr(holder, "_signal", sent.append)
    state = LeaseState()
    state.deadline_ms, state.ttl_ms = asleep.now_ms + 5_000, 30_000
    assert not holder._stop(state)
    assert sent == [signal.SIGTERM, signal.SIGKILL]
    assert asleep.asked[0] <= 250, "a poll does not notice how long the machine slept"
    assert len(asleep.asked) == 2


def test_a_huge_limit_of_descriptors_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "sysconf", lambda _: 1_073_741_816)
    monkeypatch.setattr(os, "closerange", lambda *numbers: closed.append(numbers))
    holder._close_inherited()
    ((first, last),) = closed
    assert first == holders.WHILE_FD + 1
    assert max(int(name) for name in open_descriptors()) <= last < 100_000


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_no_process_to_be_had_is_an_error_of_ours_and_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "posix_spawn", refuse)
    before = open_descriptors()
    with pytest.raises(LessorError, match=r"cannot be started: .*temporarily unavailable"):
        holders.start(holding(), 0, tmp_path)
    assert open_descriptors() == before


def test_a_log_that_cannot_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(LessorError, match=r"cannot be started: .*No such file"):
        holders.start(holding(), 0, tmp_path / "gone")


@pytest.mark.parametrize("pid", [2**31, 99_999_999_999, 2**70])
def test_a_number_that_no_process_can_have_is_not_watched(pid: int) -> None:
    with pytest.raises(UsageError, match=f"process {pid} cannot be watched"):
        holders.watch(pid)
