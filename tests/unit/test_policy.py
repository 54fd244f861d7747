"""Reading, checking and packing the policy of a license."""

from __future__ import annotations

import pytest
from lessor_daemon.directory.policy import (
    EVERYBODY_ELSE,
    Group,
    group_of,
    pack_policy,
    read_policy,
    unpack_policy,
)
from lessor_protocol.errors import Problem

PAYMENTS = Group("payments", "team", "payments", 300_000, 2, 4)
WIRE = {
    "name": "payments",
    "label": {"team": "payments"},
    "head_start": 300,
    "reserve": 2,
    "cap": 4,
}


def read(*items: object) -> tuple[Group, ...]:
    return read_policy((f"policy[{i}]", item) for i, item in enumerate(items))


def test_a_group_is_read_with_its_defaults() -> None:
    assert read(WIRE) == (PAYMENTS,)
    assert read({"name": "a", "label": {"x": ""}}) == (Group("a", "x", "", 0, 0, None),)


def test_a_policy_survives_packing() -> None:
    groups = (PAYMENTS, Group("rest", "team", "ünïcode"))
    assert unpack_policy(pack_policy(groups)) == groups
    assert pack_policy(()) == b""
    assert unpack_policy(b"") == ()


def test_a_process_belongs_to_the_first_group_whose_label_it_carries() -> None:
    second = Group("nightly", "branch", "main")
    labels = {"branch": "main", "team": "payments"}
    assert group_of((PAYMENTS, second), labels) is PAYMENTS
    assert group_of((second, PAYMENTS), labels) is second
    assert group_of((PAYMENTS,), {"team": "search"}) is EVERYBODY_ELSE


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "policy[0].name"),
        ({"name": "a b"}, "policy[0].name"),
        ({"label": {}}, "policy[0].label"),
        ({"label": None}, "policy[0].label"),
        ({"label": {"a": "1", "b": "2"}}, "policy[0].label"),
        ({"head_start": 86_401}, "policy[0].head_start"),
        ({"reserve": -1}, "policy[0].reserve"),
        ({"reserve": 5}, "policy[0].reserve"),
        ({"cap": 0}, "policy[0].cap"),
    ],
)
def test_nonsense_is_refused_with_its_place(change: dict[str, object], field: str) -> None:
    with pytest.raises(Problem) as caught:
        read({**WIRE, **change})
    assert caught.value.data["field"] == field


def test_two_groups_of_one_name_are_refused() -> None:
    with pytest.raises(Problem) as caught:
        read(WIRE, WIRE)
    assert caught.value.data["field"] == "policy[1].name"
