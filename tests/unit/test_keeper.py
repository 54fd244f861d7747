"""The keeper in virtual time: asks, waits, renews and gives back, whatever the server says."""

from collections.abc import Callable
from itertools import pairwise
from typing import cast

import pytest
from lessor.config import ClientConfig
from lessor.errors import Denied, NoAnswer, NoSeat, Unreachable
from lessor.keeper import Keeper, Waiter
from lessor.server import Server
from lessor_protocol.errors import Problem
from lessor_protocol.lease import NEVER
from lessor_protocol.messages import (
    AcquireRequest,
    Lease,
    Lost,
    Machine,
    Process,
    Renewal,
    RenewAnswer,
)
from lessor_protocol.queued import Holder, Queued

LEASE_ID = bytes(range(16))
HOLDER = Holder("ada", "rig-1", "pytest", {}, "2026-01-01T00:00:00Z")
QUEUED = Queued(1, 2, "seats", [HOLDER], 500)
FULL = Problem("seats_exhausted", "full", data={"holders": [HOLDER.to_wire()]})


class FakeTime(Waiter):
    """Sleeping is adding."""

    def __init__(self) -> None:
        super().__init__()
        self.ms = 1_000_000

    def now_ms(self) -> int:
        return self.ms

    def pause(self, until_ms: int) -> None:
        assert until_ms < NEVER
        self.ms = max(self.ms, until_ms)


class Scripted(Server):
    """Answers each call with the next of ``answers``; the last one again and again."""

    def __init__(self, time: FakeTime, *answers: object) -> None:
        super().__init__(ClientConfig(("http://lessor.test",), "lsr_a_b"), time)
        self.time = time
        self.answers = list(answers)
        self.calls: list[tuple[str, int]] = []
        self.waits: list[int] = []

    def _answer(self, call: str, timeout_ms: int) -> object:
        self.calls.append((call, self.time.ms))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, NoAnswer):
            self.time.ms += timeout_ms
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    def acquire(self, request: AcquireRequest, timeout_ms: int) -> Lease | Queued:
        self.waits.append(request.wait_ms)
        return cast("Lease | Queued", self._answer("acquire", timeout_ms))

    def renew(self, renewals: list[Renewal], timeout_ms: int) -> RenewAnswer:
        assert renewals == [Renewal(LEASE_ID, "proof")]
        return cast("RenewAnswer", self._answer("renew", timeout_ms))

    def release(self, lease_id: bytes, timeout_ms: int) -> None:
        assert lease_id == LEASE_ID
        self._answer("release", timeout_ms)

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


def grant() -> Lease:
    return Lease(
        lease_id=LEASE_ID,
        license="kre",
        token=7,
        ttl_ms=30_000,
        renew_after_ms=7_500,
        granted_at="",
        certificate="proof",
        machine=Machine("m"),
        process=Process(1, "x"),
        labels={},
    )


RENEWED = RenewAnswer([LEASE_ID], [], 30_000, 7_500)


def keeper_with(*answers: object) -> tuple[Keeper, Scripted, FakeTime]:
    time = FakeTime()
    server = Scripted(time, *answers)
    request = AcquireRequest(LEASE_ID, "kre", Machine("m"), Process(1, "x"))
    return Keeper(server, time, request), server, time


def ignore(*_news: object) -> None:
    return


def acquire(
    keeper: Keeper,
    *,
    wait_ms: int | None = None,
    on_wait: Callable[..., None] = ignore,
) -> Lease:
    return keeper.acquire(wait_ms=wait_ms, connect_timeout_ms=30_000, on_wait=on_wait)


def test_a_free_seat_is_taken_at_once() -> None:
    keeper, server, time = keeper_with(grant())
    assert acquire(keeper).token == 7
    assert keeper.is_held
    assert keeper.state.deadline_ms == time.ms + 30_000
    assert server.names() == ["acquire"]


def test_who_waits_hears_why_and_asks_again_when_the_server_says() -> None:
    keeper, server, _ = keeper_with(QUEUED, QUEUED, grant())
    heard: list[tuple[int, str, list[str]]] = []
    acquire(
        keeper,
        on_wait=lambda place, why, who, _estimate: heard.append(
            (place, why, [h.user for h in who])
        ),
    )
    assert heard == [(2, "seats", ["ada"])] * 2
    times = [at for _, at in server.calls]
    assert [after - before for before, after in pairwise(times)] == [0, 500], (
        "the first request is not held"
    )


def test_the_end_of_the_wait_withdraws_the_place_and_names_the_holders() -> None:
    keeper, server, _ = keeper_with(QUEUED)
    with pytest.raises(NoSeat) as caught:
        acquire(keeper, wait_ms=2_000)
    assert caught.value.holders == (HOLDER,)
    assert "ada on rig-1" in str(caught.value)
    assert server.names()[-1] == "release"
    assert server.waits[0] == 2_000
    assert server.waits == sorted(server.waits, reverse=True)


def test_asking_once_takes_a_refusal_without_a_word_more() -> None:
    keeper, server, _ = keeper_with(FULL)
    with pytest.raises(NoSeat) as caught:
        acquire(keeper, wait_ms=0)
    assert caught.value.code == "seats_exhausted"
    assert server.names() == ["acquire"]


def test_a_denial_ends_an_endless_wait() -> None:
    keeper, server, _ = keeper_with(Problem("revoked", "key was revoked"))
    with pytest.raises(Denied, match="key was revoked"):
        acquire(keeper)
    assert server.names() == ["acquire"]


def test_no_server_is_the_end_after_the_connect_timeout_and_a_lost_reply_is_given_back() -> None:
    keeper, server, time = keeper_with(NoAnswer("lessor.test cannot be reached"))
    began_ms = time.ms
    with pytest.raises(Unreachable, match=r"lessor\.test cannot be reached"):
        acquire(keeper)
    assert server.names()[-1] == "release"
    assert time.ms - began_ms <= 30_000 + 2_000 + 10_000


def test_a_wait_that_is_interrupted_gives_its_place_back() -> None:
    keeper, server, _ = keeper_with(QUEUED)

    def interrupt(*_news: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        acquire(keeper, on_wait=interrupt)
    assert server.names() == ["acquire", "release"]


def test_a_held_lease_is_renewed_a_quarter_of_its_ttl_after_the_last_time() -> None:
    keeper, server, _ = keeper_with(grant(), RENEWED)
    acquire(keeper)
    for _ in range(6):
        keeper.step()
    renewals = [at for name, at in server.calls if name == "renew"]
    assert len(renewals) == 3
    pauses = {after - before for before, after in pairwise(renewals)}
    assert all(6_750 <= pause <= 7_500 for pause in pauses)


def test_a_step_sleeps_no_longer_than_it_is_told() -> None:
    keeper, _, time = keeper_with(grant(), RENEWED)
    acquire(keeper)
    until_ms = time.ms + 100
    keeper.step(until_ms)
    assert time.ms == until_ms


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        (
            RenewAnswer([], [Lost(LEASE_ID, "lease_ended", "an admin")], 0, 0),
            "lease_ended",
            "an admin",
        ),
        (Problem("revoked", "key was revoked"), "revoked", "key was revoked"),
        (NoAnswer("cut off"), "expired", "cut off"),
        (Problem("store_unavailable", "no store"), "expired", "no store"),
        (Problem("unauthenticated", "no such key"), "expired", "no such key"),
        (RenewAnswer([], [], 0, 0), "expired", "without a word about this lease"),
    ],
)
def test_a_lost_lease_says_why(answer: object, code: str, reason: str) -> None:
    keeper, _, time = keeper_with(grant(), answer)
    acquire(keeper)
    began_ms = time.ms
    while keeper.is_held:
        keeper.step()
    assert keeper.state.code == code
    assert reason in keeper.state.reason
    assert time.ms - began_ms <= 30_000


def test_a_release_is_repeated_until_it_is_heard() -> None:
    keeper, server, _ = keeper_with(grant(), NoAnswer("cut off"), None)
    acquire(keeper)
    assert keeper.release()
    assert server.names() == ["acquire", "release", "release"]


def test_a_release_that_nobody_hears_ends_after_a_while() -> None:
    keeper, _, time = keeper_with(grant(), Problem("store_unavailable", "no store"))
    acquire(keeper)
    began_ms = time.ms
    assert not keeper.release()
    assert 4_000 <= time.ms - began_ms <= 6_000
