"""Times as they are written and read on the command line."""

from __future__ import annotations

import time
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from lessor.admin import times

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def somewhere_else(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "XST-02:00")  # two hours ahead of UTC
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_moment_is_shown_in_the_time_zone_of_who_reads_it() -> None:
    assert times.shown("2027-03-01T12:00:00Z") == "2027-03-01 14:00"
    assert times.shown(None) == "-"
    assert times.shown("soon") == "-"


def test_a_moment_within_the_hour_is_shown_to_the_second() -> None:
    now = datetime.now(UTC)
    for minutes, length in ((-61, 16), (-59, 19), (0, 19), (59, 19), (61, 16)):
        text = f"{now + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"
        assert times.near(text) == times.exact(text)[:length]
    assert times.exact("2027-03-01T12:00:07Z") == "2027-03-01 14:00:07"
    assert times.near(None) == times.exact(None) == "-"


def test_a_date_without_a_zone_means_this_machines() -> None:
    assert times.later("2027-03-01") == "2027-02-28T22:00:00Z"
    assert times.later("2027-03-01T14:00") == "2027-03-01T12:00:00Z"
    assert times.later("2027-03-01T12:00:00Z") == "2027-03-01T12:00:00Z"
    assert times.later("2027-03-01T12:00:00-05:00") == "2027-03-01T17:00:00Z"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_duration_counts_from_now_in_the_direction_that_is_meant() -> None:
    now = datetime.now(UTC)
    slack = timedelta(seconds=30)
    assert abs(moment(times.later("30d")) - now - timedelta(days=30)) < slack
    assert abs(moment(times.earlier("90m")) - now + timedelta(minutes=90)) < slack
    # A bare number is seconds, and never the year that ISO 8601 would take it for.
    assert abs(moment(times.later("20271231")) - now - timedelta(seconds=20271231)) < slack


@pytest.mark.parametrize("text", ["", "tomorrow", "2027-13-01", "-5d", "1e9d", "9" * 30 + "d"])
def test_what_is_no_moment_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="such as 2027-12-31"):
        times.later(text)


def test_ages_are_short() -> None:
    assert times.age("2027-03-01T11:59:52Z", NOW) == "8s"
    assert times.age("2027-03-01T11:48:00Z", NOW) == "12m"
    assert times.age("2027-03-01T08:55:00Z", NOW) == "3h05m"
    assert times.age("2027-02-24T12:00:00Z", NOW) == "5d"
    assert times.age("2027-03-01T12:00:30Z", NOW) == "0s"  # clocks differ
    assert times.age(None, NOW) == "-"
