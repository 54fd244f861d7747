"""What the client does where the kernel is not Linux."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import time
from typing import TYPE_CHECKING

from lessor.agent import wire
from lessor.clock import now_ms

if TYPE_CHECKING:
    from types import ModuleType

    import pytest


def loaded_anew(name: str) -> ModuleType:
    """A second copy of the module, made under whatever is pretended now."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_prctl_nothing_is_adopted_and_nobody_hurt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    linux = loaded_anew("lessor.agent.linux")
    assert not linux.IS_LINUX
    assert not linux.adopt_orphans()
    linux.set_name("lessor-leash")
    linux.die_with_parent(os.getppid())


def test_time_that_a_machine_sleeps_counts_where_there_is_a_clock_for_it() -> None:
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    assert before <= now_ms() <= time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def test_without_such_a_clock_the_one_that_never_goes_back_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    now = loaded_anew("lessor.clock").now_ms
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000_000
    assert before <= now() <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000_000


def test_without_packet_pairs_messages_keep_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    socketpair = socket.socketpair

    def pair(family: int, kind: int) -> object:
        if kind == socket.SOCK_SEQPACKET:
            raise OSError("Protocol not supported")
        return socketpair(family, kind)

    monkeypatch.setattr(socket, "socketpair", pair)
    one, other = wire.pair()
    assert one.send("hold", 1, 2)
    assert one.send("ping", 3)
    assert other.receive() == [["hold", "1", "2"], ["ping", "3"]]
    one.close()
    other.close()
