"""The two ways to say what a batch found."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from lessor_daemon.leasing.answers import renew_answer, renewed_wire
from lessor_protocol.messages import Renewal

TTLS = st.lists(st.integers(min_value=5_000, max_value=600_000), min_size=1, max_size=20)


def renewals(count: int) -> list[Renewal]:
    return [Renewal(number.to_bytes(16, "big")) for number in range(count)]


@given(TTLS)
def test_the_short_way_says_the_same_as_the_long_one(ttls: list[int]) -> None:
    asked = renewals(len(ttls))
    assert renewed_wire(asked, list(ttls)) == renew_answer(asked, list(ttls)).to_wire()


def test_the_short_way_leaves_a_lost_lease_to_the_long_one() -> None:
    assert renewed_wire(renewals(2), [30_000, "lapsed"]) is None
