"""Typed fields: what is wrong is refused, and named by its path."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lessor_protocol.errors import Problem
from lessor_protocol.fields import Reader, is_plain_text

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
READS: list[Callable[[Reader], object]] = [
    lambda r: r.text("x"),
    lambda r: r.text("x", default="", longest=3, empty=True),
    lambda r: r.integer("x"),
    lambda r: r.seconds_as_ms("x"),
    lambda r: r.flag("x", default=False),
    lambda r: r.nested("x"),
    lambda r: r.array("x", most=2),
    lambda r: r.labels("x", most=2, longest=5),
]


def refusal(read: Callable[[Reader], object], value: object) -> Problem | None:
    try:
        read(Reader({"x": value}))
    except Problem as problem:
        return problem
    return None


@given(value=ANYTHING, read=st.sampled_from(READS))
def test_any_value_is_read_or_refused_as_invalid(
    value: object, read: Callable[[Reader], object]
) -> None:
    problem = refusal(read, value)
    assert problem is None or problem.code == "invalid"
    assert problem is None or str(problem.data["field"]).startswith("x")


@pytest.mark.parametrize(
    ("value", "read", "field"),
    [
        ({}, lambda r: r.text("license"), "license"),
        ({"machine": {"id": 5}}, lambda r: r.nested("machine").text("id"), "machine.id"),
        ({"machine": 5}, lambda r: r.nested("machine"), "machine"),
        ({"n": True}, lambda r: r.integer("n"), "n"),
        ({"n": -1}, lambda r: r.integer("n"), "n"),
        ({"n": 2**53}, lambda r: r.integer("n"), "n"),
        ({"wait": float("nan")}, lambda r: r.seconds_as_ms("wait"), "wait"),
        ({"wait": float("inf")}, lambda r: r.seconds_as_ms("wait"), "wait"),
        ({"name": "x" * 129}, lambda r: r.text("name"), "name"),
        ({"name": "a\x1b[31mb"}, lambda r: r.text("name"), "name"),
        ({"name": ""}, lambda r: r.text("name"), "name"),
        ({"labels": {"a": 1}}, lambda r: r.labels("labels", most=3, longest=5), "labels.a"),
        ({"labels": {"a" * 65: "x"}}, lambda r: r.labels("labels", most=3, longest=5), "labels"),
    ],
)
def test_the_field_that_is_wrong_is_named(
    value: object, read: Callable[[Reader], object], field: str
) -> None:
    with pytest.raises(Problem) as caught:
        read(Reader(value))
    assert caught.value.data == {"field": field}


def test_the_items_of_a_list_are_named_by_their_index() -> None:
    assert Reader({"leases": ["a", "b"]}).array("leases", most=2) == [
        ("leases[0]", "a"),
        ("leases[1]", "b"),
    ]


def test_null_counts_as_absent() -> None:
    assert Reader({"name": None}).text("name", default="none") == "none"
    assert not Reader({"name": None}).has("name")


@pytest.mark.parametrize("text", ["plain", "Prüfstand 3", "日本語\u3000テスト", "a\u00e9🙂"])
def test_text_that_people_write_is_plain(text: str) -> None:
    assert is_plain_text(text)


@pytest.mark.parametrize(
    "text", ["a\nb", "\x1b[2J", "\u202eabc", "a\u2028b", "\ud800", "nul\x00", "\u200bzero"]
)
def test_text_that_moves_the_cursor_or_reorders_is_not_plain(text: str) -> None:
    assert not is_plain_text(text)
