"""Lines for people, events for programs, and messages between agent and leash."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from lessor.agent import explain, wire
from lessor.agent.narrator import NORMAL, QUIET, VERBOSE, Events, Narrator, Outlet
from lessor_protocol.errors import TRANSIENT
from lessor_protocol.queued import Estimate, Holder

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Reading and writing end."""
    reading, writing = os.pipe()
    yield reading, writing
    for fd in (reading, writing):
        try:
            os.close(fd)
        except OSError:
            continue  # the test has closed it


def holder(**changes: object) -> Holder:
    fields: dict[str, object] = {
        "user": "ada",
        "machine": "ci-1",
        "command": "pytest -x",
        "labels": {"branch": "main", "job_url": "https://ci/7"},
        "since": "2025-12-31T23:54:30Z",
    }
    return Holder(**{**fields, **changes})  # type: ignore[arg-type]  # tests know the kinds


def test_a_holder_is_told_with_machine_command_time_and_job() -> None:
    text = explain.describe_holders([holder()], NOW)
    assert text == "held by ada on ci-1 (pytest -x) for 5m30s [https://ci/7, main]"


def test_little_known_holders_are_told_too() -> None:
    text = explain.describe_holders(
        [holder(user="", machine="", command="", labels={}, since="yesterday")], NOW
    )
    assert text == "held by somebody on some machine"


def test_many_holders_are_counted() -> None:
    assert explain.describe_holders([holder()] * 7, NOW).endswith("; and 2 more")


def test_another_clock_that_is_ahead_makes_no_negative_times() -> None:
    assert explain.seconds_since("2026-01-01T00:00:09Z", NOW) == 0
    assert explain.seconds_since("2026-01-01T00:00:00", NOW) == 0


def test_who_waits_reads_place_reason_and_holders() -> None:
    text = explain.describe_wait("kre", 2, "machines", [holder()], NOW)
    assert text.startswith("waiting for a seat of kre, position 2: all places for machines are")
    assert "held by ada" in text


def test_an_estimate_is_told_with_its_range_and_its_ground() -> None:
    estimate = Estimate(250_400, 724_000, 120)
    text = explain.describe_wait("kre", 3, "seats", [], NOW, estimate=estimate)
    assert text.endswith("; probably 4m10s more, 9 of 10 times at most 12m (by 120 sessions)")


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("seats_exhausted", "--wait"),
        ("machines_exhausted", "registered machine"),
        ("unauthenticated", "LESSOR_API_KEY"),
        ("unknown_license", "--license"),
        ("unreachable", "LESSOR_URL"),
        ("draining", "LESSOR_URL"),
        ("store_unavailable", "--connect-timeout"),
        ("rate_limited", "try again"),
        ("internal", "operator"),
    ],
)
def test_a_refusal_says_what_to_do(code: str, advice: str) -> None:
    assert advice in explain.describe_refusal("kre", code, "because", [], NOW)


@pytest.mark.parametrize("code", sorted(TRANSIENT))
def test_trouble_of_the_server_is_said_in_words_to_who_waits(code: str) -> None:
    text = explain.describe_wait("kre", 0, code, [], NOW)
    assert text.startswith("waiting for a seat of kre: the server ")


def test_a_server_that_gave_no_seat_in_time_is_not_said_to_have_none() -> None:
    text = explain.describe_refusal("", "store_unavailable", "no store yet", [], NOW)
    assert text.startswith("no server could give a seat in time: no store yet (")


def test_where_no_license_was_named_none_is_spoken_of() -> None:
    text = explain.describe_refusal("", "unauthenticated", "no such API key", [], NOW)
    assert text.startswith("no seat: no such API key (unauthenticated)")


def test_more_seats_than_there_are_is_no_lack_of_free_ones() -> None:
    text = explain.describe_refusal("kre", "invalid", "at most 2", [], NOW, field="seats")
    assert text == (
        "the request for a seat of kre is not valid: at most 2; ask for fewer with --seats"
    )


@pytest.mark.parametrize(
    "code", ["seats_exhausted", "unknown_license", "unauthenticated", *sorted(TRANSIENT)]
)
def test_a_program_is_not_told_of_options(code: str) -> None:
    text = explain.describe_refusal("kre", code, "because", [], NOW, terms=explain.IN_PYTHON)
    assert "--" not in text


def test_who_holds_several_seats_is_told_with_their_number() -> None:
    text = explain.describe_holders([Holder("ada", "ci-1", "pytest -n 4", {}, "", 4)], NOW)
    assert text == "held by ada on ci-1 (pytest -n 4, 4 seats)"


@pytest.mark.parametrize(
    ("blocked_by", "why", "advice"),
    [
        ("drained", "the license is drained", "when the license is open again"),
        ("cap", "the group may hold", "raise the group's cap"),
        ("machines", "all places for machines", "a registered machine"),
        ("seats", "all seats are taken", "free a seat"),
        ("weather", "all seats are taken", "free a seat"),
    ],
)
def test_a_refusal_says_what_blocks_and_not_always_that_seats_do(
    blocked_by: str, why: str, advice: str
) -> None:
    text = explain.describe_refusal("kre", "seats_exhausted", "", [], NOW, blocked_by=blocked_by)
    assert why in text
    assert advice in text


def test_an_estimate_never_promises_no_time_at_all() -> None:
    text = explain.describe_estimate(Estimate(300, 700_000, 12))
    assert text == "probably 1s more, 9 of 10 times at most 11m (by 12 sessions)"


def test_levels_of_telling(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    for level in (QUIET, NORMAL, VERBOSE):
        narrator = Narrator(level, Outlet(writing))
        narrator.detail(f"detail {level}")
        narrator.say(f"say {level}")
        narrator.fail(f"fail {level}")
    lines = os.read(reading, 4096).decode().splitlines()
    assert lines == [
        "lessor: fail 0",
        "lessor: say 1",
        "lessor: fail 1",
        "lessor: detail 2",
        "lessor: say 2",
        "lessor: fail 2",
    ]


def test_control_characters_do_not_reach_the_terminal(pipe: tuple[int, int]) -> None:
    Narrator(NORMAL, Outlet(pipe[1])).say("a\x1b[31m\u202eb\nlessor: c")
    assert os.read(pipe[0], 4096) == b"lessor: a?[31m?b lessor: c\n"


def fill(fd: int) -> None:
    os.set_blocking(fd, False)
    try:
        while True:
            os.write(fd, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(fd, True)


def test_a_full_pipe_holds_up_nobody_and_gets_the_newest_lines_later(
    pipe: tuple[int, int],
) -> None:
    reading, writing = pipe
    fill(writing)
    outlet = Outlet(writing)
    for number in range(100):
        outlet.write(b"%d\n" % number)
    os.set_blocking(reading, False)
    while len(os.read(reading, 1 << 20)) == 1 << 20:
        pass
    outlet.flush()
    assert os.read(reading, 4096).split() == [b"%d" % number for number in range(36, 100)]


def test_a_closed_pipe_harms_nobody(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    Outlet(pipe[1]).write(b"x\n")
    os.close(pipe[1])
    Outlet(pipe[1]).write(b"x\n")


def test_an_event_is_one_line_that_a_pipe_takes_at_once(pipe: tuple[int, int]) -> None:
    events = Events(pipe[1], lambda: NOW)
    events.emit("waiting", holders=[holder().to_wire()])
    events.emit("waiting", position=3, holders=[holder(command="x" * 900).to_wire()] * 20)
    short, long = os.read(pipe[0], 65_536).splitlines()
    assert json.loads(short)["holders"][0]["user"] == "ada"
    assert json.loads(short)["time"] == NOW
    assert len(long) < 4096
    assert json.loads(long)["position"] == 3


def test_without_a_descriptor_events_go_nowhere() -> None:
    Events(None, lambda: NOW).emit("waiting")


def test_messages_keep_order_bounds_and_odd_characters() -> None:
    one, other = wire.pair()
    assert one.send("start", 1, "A=b\udcff c", "")
    assert one.send("ping", 2)
    assert other.receive() == [["start", "1", "A=b\udcff c", ""], ["ping", "2"]]
    assert other.receive() == []
    assert other.is_open
    one.close()
    assert other.receive() == []
    assert not other.is_open
    assert not other.send("ack", 2)
    other.close()


def test_what_was_said_before_the_end_is_still_heard() -> None:
    one, other = wire.pair()
    one.send("gone", "")
    one.close()
    assert other.receive() == [["gone", ""]]
    assert not other.is_open
    other.close()


def test_a_peer_that_does_not_listen_holds_up_nobody() -> None:
    one, other = wire.pair()
    while one.send("hold", "x" * 1000):
        pass
    assert len(other.receive()) > 10
    one.close()
    other.close()
