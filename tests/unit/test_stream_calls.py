"""One call on a stream, and what becomes of the others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from lessor_daemon import logs
from lessor_daemon.http.stream_calls import StreamCalls, _Call
from lessor_daemon.metrics import Metrics
from lessor_daemon.store.scripts import Noticed
from lessor_protocol import frames
from lessor_protocol.errors import Problem
from lessor_protocol.lease_id import format_lease_id
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from collections.abc import Callable


class Stream:
    """Takes what it is to send, and what is bound when a call is done and it would read on."""

    opened = SimpleNamespace(request_id="r1")
    org = "acme"
    key_digest = b""
    repeated = None

    def __init__(self) -> None:
        self.under_way = 0
        self.bound: dict[str, object] = {}
        self.refused: list[str] = []

    def done(self, cost: int) -> None:
        self.under_way -= cost
        self.bound = dict(logs.bound())

    def refuse(self, _seq: int, problem: Problem) -> None:
        self.refused.append(problem.code)


class Leasing:
    """Takes renewals, or fails to."""

    def __init__(self) -> None:
        self.news = SimpleNamespace(carriers=SimpleNamespace(enter=lambda *_: None))
        self.answered: list[Callable[[object], None]] = []
        self.error: Exception | None = None

    def submit_renewals(
        self, _caller: object, _renewals: object, answered: Callable[[object], None]
    ) -> None:
        if self.error is not None:
            raise self.error
        self.answered.append(answered)


@pytest.fixture
def leasing() -> Any:  # noqa: ANN401  # a stand-in
    return Leasing()


@pytest.fixture
def calls(leasing: Any) -> StreamCalls:  # noqa: ANN401  # likewise
    caller = SimpleNamespace(org="acme", key_id="k1")
    directory: Any = SimpleNamespace(
        authentication=SimpleNamespace(recall_by_digest=lambda *_: caller, digest=None)
    )
    serving: Any = SimpleNamespace(call_begins=lambda: None, call_ends=lambda: None)
    return StreamCalls(serving, directory, leasing, Metrics())


@pytest.fixture
def stream() -> Any:  # noqa: ANN401  # likewise
    return Stream()


RENEWAL = frames.encode(7, frames.RENEW, {"leases": [format_lease_id(bytes([7] * 16))]})


async def test_requests_that_a_call_held_up_carry_none_of_its_ids(
    calls: StreamCalls,
    stream: Any,  # noqa: ANN401  # likewise
) -> None:
    caller: Any = SimpleNamespace(org="acme", key_id="k1")
    seen: dict[str, object] = {}

    async def work() -> None:
        logs.bind(lease="one")
        seen.update(logs.bound())

    await calls._see_through(_Call(stream, caller, 7), "acquire", work(), 16)
    assert seen == {"request": "r1", "org": "acme", "key": "k1", "frame": 7, "lease": "one"}
    assert stream.bound == {}


def test_an_answer_that_cannot_be_made_is_a_failure_of_one_call(
    calls: StreamCalls,
    stream: Any,  # noqa: ANN401  # likewise
    leasing: Leasing,
) -> None:
    calls.answer(stream, RENEWAL)
    (answered,) = leasing.answered
    notice: Any = ["no", "map"]  # of somebody who changed the store
    with capture_logs() as logged:
        answered([Noticed(30_000, notice)])
    assert stream.refused == ["internal"]
    assert stream.under_way == 0
    assert [one["event"] for one in logged] == ["internal_error"]


@pytest.mark.parametrize(
    ("error", "code"),
    [(ValueError("a bug"), "internal"), (Problem("rate_limited", "too many"), "rate_limited")],
)
def test_a_request_that_cannot_be_begun_is_answered_nonetheless(
    calls: StreamCalls,
    stream: Any,  # noqa: ANN401  # likewise
    leasing: Leasing,
    error: Exception,
    code: str,
) -> None:
    leasing.error = error
    with capture_logs():
        calls.answer(stream, RENEWAL)
        calls.answer(stream, RENEWAL)  # as it was sent before, which is answered faster
    assert stream.refused == [code] * 2
    assert stream.under_way == 0
