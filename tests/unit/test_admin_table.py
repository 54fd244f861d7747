"""Tables of the administration: aligned, fit for the terminal, and clean."""

from __future__ import annotations

import pytest
from lessor.admin import table
from lessor.admin.table import Column
from lessor.admin.terminal import Style
from lessor.commands import audit
from lessor.commands.license import _LINE

PLAIN = Style(has_colour=False)
COLOUR = Style(has_colour=True)


def shown(
    columns: list[Column], items: list[dict[str, object]], width: int | None = None
) -> list[str]:
    return table.lines(columns, items, width, PLAIN)


def test_columns_are_aligned_and_numbers_to_the_right() -> None:
    columns = [Column("NAME", "name"), Column("SEATS", "seats", is_number=True)]
    items: list[dict[str, object]] = [{"name": "kre", "seats": 5}, {"name": "studio", "seats": 120}]
    assert shown(columns, items) == ["NAME    SEATS", "kre         5", "studio    120"]


def test_a_column_that_nothing_fills_is_left_out() -> None:
    columns = [Column("NAME", "name"), Column("EXPIRES", "expires")]
    assert shown(columns, [{"name": "kre", "expires": None}]) == ["NAME", "kre"]


def test_nested_fields_lists_and_flags_are_readable() -> None:
    columns = [
        Column("M", "machine.name"),
        Column("L", "licenses"),
        Column("E", "ephemeral"),
        Column("K", "labels"),
    ]
    item: dict[str, object] = {
        "machine": {"name": "rig"},
        "licenses": ["kre", "tool"],
        "ephemeral": False,
        "labels": {"branch": "main"},
    }
    assert shown(columns, [item])[1].split("  ") == ["rig", "kre, tool", "no", "branch=main"]


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    columns = [Column("ID", "id", firm=True), Column("COMMAND", "command"), Column("WHO", "who")]
    item: dict[str, object] = {"id": "x" * 12, "command": "pytest " * 30, "who": "ada" * 20}
    lines = shown(columns, [item], width)
    assert max(map(len, lines)) <= width
    assert "x" * 12 in lines[1]
    assert "…" in lines[1]


def test_what_would_be_of_no_use_in_half_is_never_cut() -> None:
    columns = [Column("ID", "id", firm=True), Column("NAME", "name")]
    lines = shown(columns, [{"id": "x" * 50, "name": "n" * 50}], 40)
    assert "x" * 50 in lines[1]


def test_without_a_terminal_nothing_is_cut() -> None:
    assert "c" * 300 in shown([Column("COMMAND", "command")], [{"command": "c" * 300}])[1]


def test_control_characters_never_reach_the_terminal() -> None:
    evil = "a\x1b]0;owned\x07\nb\x9b31m"
    lines = shown([Column("NAME", "name")], [{"name": evil}])
    assert len(lines) == 2
    assert not set("\x1b\x07\n\x9b") & set(lines[1])
    assert table.details([Column("name", "name")], {"name": evil}, PLAIN) == [f"name  {lines[1]}"]


def test_wide_characters_take_two_columns() -> None:
    columns = [Column("NAME", "name"), Column("ROLE", "role")]
    items: list[dict[str, object]] = [{"name": "機械", "role": "a"}, {"name": "abcd", "role": "b"}]
    assert shown(columns, items) == ["NAME  ROLE", "機械  a", "abcd  b"]


def test_only_a_heading_and_states_have_colour() -> None:
    columns = [Column("NAME", "name"), Column("STATE", "state", is_state=True)]
    lines = table.lines(columns, [{"name": "revoked", "state": "revoked"}], None, COLOUR)
    assert lines == ["\x1b[1mNAME     STATE\x1b[0m", "revoked  \x1b[31mrevoked\x1b[0m"]


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {}])
def test_no_colour_where_it_is_not_wanted_or_not_seen(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: bool(environ), raising=False)
    assert Style.of_stdout(environ).paint("x", "1") == "x"


def test_what_goes_below_stands_under_its_row_whole_where_the_table_is_too_wide() -> None:
    columns = [Column("ACTION", "action", firm=True), Column("CHANGE", "change", below=True)]
    items: list[dict[str, object]] = [
        {"action": "license.change", "change": "seats 5 → 10, product - → Katalon"},
        {"action": "key.rotate"},
    ]
    wide = shown(columns, items, 80)
    assert wide[1] == "license.change  seats 5 → 10, product - → Katalon"
    assert shown(columns, items, 24) == [
        "ACTION",
        "license.change",
        "    seats 5 → 10,",
        "    product - → Katalon",
        "key.rotate",
    ]


def test_what_is_spare_is_left_out_once_nothing_else_can_go_below() -> None:
    columns = [
        Column("ACTION", "action", firm=True),
        Column("FROM", "source", spare=True),
        Column("CHANGE", "change", below=True),
    ]
    items: list[dict[str, object]] = [
        {"action": "key.make", "source": "127.0.0.1", "change": "name=ci"}
    ]
    assert shown(columns, items, 28)[1:] == ["key.make  127.0.0.1  name=ci"]
    assert shown(columns, items, 27)[1:] == ["key.make  127.0.0.1", "    name=ci"]
    assert shown(columns, items, 18)[1:] == ["key.make", "    name=ci"]


def test_the_line_shows_groups_where_somebody_has_one() -> None:
    waiting: list[dict[str, object]] = [{"position": 1, "group": ""}, {"position": 2, "group": "a"}]
    assert shown([*_LINE], waiting) == ["   GROUP", "1  -", "2  a"]
    assert shown([*_LINE], waiting[:1]) == ["", "1"]


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ({"seats": 5, "ttl": 30}, {"seats": 10, "ttl": 30}, "seats 5 → 10"),
        ({"product": "KRE"}, {"product": ""}, "product KRE → -"),
        (
            {"state": "valid"},
            {"state": "returned", "returned": "now"},
            "state valid → returned, returned - → now",
        ),
        (None, {"name": "ci", "scopes": ["read", "run"], "text": ""}, "name=ci scopes=read,run"),
        (
            {"machines": [["kre", "isle"], ["kre", "rig"]]},
            {"text": ""},
            "machines=kre/isle,kre/rig",
        ),
        (
            {"email": "a@b", "role": "member"},
            {"keys_revoked": ["x"]},
            "email=a@b role=member keys_revoked=x",
        ),
    ],
)
def test_what_the_audit_says_of_a_change_is_short_and_whole(
    before: object, after: object, text: str
) -> None:
    item: dict[str, object] = {"action": "x.y", "before": before, "after": after}
    assert audit._change(item) == text
