"""Failed attempts with API keys: many in a row are stopped, and time forgives."""

from __future__ import annotations

import pytest
import structlog.testing
from lessor_daemon.directory.authentication import (
    FAILURE_EVERY_MS,
    FAILURES_AT_ONCE,
    MOST_SOURCES,
    Failures,
)
from lessor_protocol.errors import Problem


class Clock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


def fail(failures: Failures, times: int, source: str = "192.0.2.1") -> None:
    """So many failures, each let through."""
    for _ in range(times):
        failures.check(source)
        failures.count(source)


def test_a_source_may_fail_so_often_and_then_has_to_wait() -> None:
    clock = Clock()
    failures = Failures(clock)
    fail(failures, FAILURES_AT_ONCE)
    with pytest.raises(Problem) as caught:
        failures.check("192.0.2.1")
    assert caught.value.code == "rate_limited"
    assert caught.value.retry_after == FAILURE_EVERY_MS / 1000
    failures.check("192.0.2.2")


def test_who_has_to_wait_is_named_in_the_log() -> None:
    failures = Failures(Clock())
    with structlog.testing.capture_logs() as logged:
        fail(failures, FAILURES_AT_ONCE - 1)
        assert logged == []
        fail(failures, 1)
    assert [(line["event"], line["source"]) for line in logged] == [("keys_guessed", "192.0.2.1")]


def test_time_forgives_one_failure_after_another() -> None:
    clock = Clock()
    failures = Failures(clock)
    fail(failures, FAILURES_AT_ONCE)
    clock.ms += FAILURE_EVERY_MS
    fail(failures, 1)
    with pytest.raises(Problem):
        failures.check("192.0.2.1")
    clock.ms += FAILURES_AT_ONCE * FAILURE_EVERY_MS
    fail(failures, FAILURES_AT_ONCE)


def test_the_addresses_of_one_ipv6_network_are_one_source() -> None:
    failures = Failures(Clock())
    for number in range(FAILURES_AT_ONCE):
        fail(failures, 1, f"2001:db8::{number:x}")
    with pytest.raises(Problem):
        failures.check("2001:db8::ffff")
    failures.check("2001:db8:0:1::1")


def test_the_memory_of_sources_is_bounded() -> None:
    failures = Failures(Clock())
    for number in range(MOST_SOURCES + 10):
        failures.count(f"source-{number}")
    assert len(failures._empty_until_ms) <= MOST_SOURCES
