"""The benchmark's own arithmetic: a wrong figure is worse than none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lessor_daemon.http import socket_frames

from bench.arithmetic import (
    alternately,
    at_least,
    at_most,
    figure_of,
    median_ratio,
    percentile,
    shown,
)
from bench.wire import split_answer, split_frames


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(one) for one in range(1, 101)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1.0) == 100
    assert percentile([7.0], 0.01) == 7
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@given(
    st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=50),
    st.floats(min_value=0.01, max_value=1),
)
def test_at_least_that_share_does_not_exceed_it(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    # One value of tolerance: the share of a count is seldom a whole number in binary.
    assert sum(one <= found for one in values) >= share * len(values) - 1e-6


def test_what_is_only_shown_is_never_missed() -> None:
    assert shown().is_met_by(99)
    assert str(shown()) == "-"


def test_a_ratio_compares_what_was_measured_together() -> None:
    # The machine was ten times slower in the second pair: that is no news of either.
    assert median_ratio([10.0, 1.0, 12.0], [20.0, 2.0, 20.0]) == 0.5


def test_both_sides_are_measured_as_often_and_each_goes_first_in_turn() -> None:
    order: list[str] = []

    def measure(name: str, value: float) -> float:
        order.append(name)
        return value

    found = alternately(4, lambda: measure("one", 1), lambda: measure("other", 2))
    assert found == ([1] * 4, [2] * 4)
    assert order[:2] == ["one", "other"]  # not counted
    assert order[2:] == ["one", "other", "other", "one"] * 2


def test_a_reach_is_judged_by_the_figure_that_is_printed() -> None:
    assert at_least(0.65).is_met_by(0.646)
    assert not at_least(0.65).is_met_by(0.644)
    assert at_most(1.5).is_met_by(1.504)
    assert not at_most(1.5).is_met_by(1.506)


def test_a_figure_has_the_medians_of_both() -> None:
    figure = figure_of("row", "peer", [1.0, 3.0, 2.0], [2.0, 6.0, 4.0], at_least(0.5), "calls/s")
    assert (figure.ratio, figure.ours, figure.theirs) == (0.5, 2.0, 4.0)


@given(st.lists(st.integers(min_value=0, max_value=70_000), max_size=5), st.data())
def test_frames_are_found_however_they_are_cut(sizes: list[int], data: st.DataObject) -> None:
    payloads = [bytes([i]) * size for i, size in enumerate(sizes)]
    written = b"".join(socket_frames.binary(payload) for payload in payloads)
    cut = data.draw(st.integers(min_value=0, max_value=len(written)))
    first, rest = split_frames(written[:cut])
    second, left = split_frames(rest + written[cut:])
    assert [payload for _, payload in first + second] == payloads
    assert left == b""


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Length: 5", b"whole"),
        (b"content-length: 0", b""),
        (b"Transfer-Encoding: chunked", b"2\r\nwh\r\n3\r\nole\r\n0\r\n\r\n"),
    ],
)
def test_an_answer_is_whole_or_not_there_yet(head: bytes, body: bytes) -> None:
    data = b"HTTP/1.1 200 OK\r\n" + head + b"\r\nServer: lessor\r\n\r\n" + body
    assert all(split_answer(data[:i]) is None for i in range(len(data)))
    found = split_answer(data + b"next")
    assert found is not None
    status, payload, rest = found
    assert (status, rest) == (200, b"next")
    assert payload in (b"whole", b"")
