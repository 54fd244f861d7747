"""Starting the background process behind ``lessor acquire``, where that fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from lessor import holders
from lessor.config import ClientConfig
from lessor.errors import LessorError, UsageError
from lessor.wish import make_request
from lessor_protocol.lease import LeaseState


def holding() -> holders.Holding:
    config = ClientConfig(("http://127.0.0.1:9",), "lsr_a_b")
    request = make_request({}, license="kre", pid=1, command="true")
    return holders.Holding(config, request, "", LeaseState(), kill_when_lost=False)


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
