"""What is said again to a store that forgot: it takes away, and never gives."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lessor_daemon.directory.licenses import DEFAULTS
from lessor_daemon.directory.policy import Group, pack_policy, unpack_policy
from lessor_daemon.directory.restrictions import (
    NOTHING,
    THERE,
    Target,
    facts_of_edits,
    facts_of_quota,
    restricted_fields,
    restricted_key,
    restricted_role,
)
from lessor_daemon.store import keys
from lessor_daemon.store.changes import AS_SEATS, UNLIMITED, Edit
from lessor_daemon.store.directory import FINISHING, REVOKED, KeyRecord, Member

STORED = DEFAULTS | {"seats": 5, "machines": 5}
KEY = KeyRecord("id", "acme", "ci", "", frozenset({"run", "read"}), b"digest", 2_000)


@pytest.mark.parametrize(
    ("stored", "said", "changed"),
    [
        ({}, {"seats": b"3"}, {"seats": 3}),
        ({}, {"seats": b"9"}, {}),
        ({}, {"machines": b"2"}, {"machines": 2}),
        ({}, {"machines": b"-1"}, {}),
        ({"machines": UNLIMITED}, {"machines": b"-2"}, {"machines": AS_SEATS}),
        ({"machines": AS_SEATS}, {"machines": b"5"}, {}),
        ({}, {"drained": b"1"}, {"drained": 1}),
        ({"drained": 1}, {"drained": b"0"}, {}),
        ({}, {"license": NOTHING}, {"drained": 1}),
        ({}, {"license": b"named-user"}, {"drained": 1}),
        ({}, {"license": b"floating"}, {}),
        ({}, {"license": THERE}, {}),
        ({}, {"expires": b"100"}, {"expires": 100}),
        ({"expires": 50}, {"expires": b"100"}, {}),
        ({"expires": 50}, {"expires": b"0"}, {}),
        ({}, {"starts": b"100"}, {"starts": 100}),
        ({"starts": 200}, {"starts": b"100"}, {}),
        ({}, {"offline_allowed": b"0"}, {"offline_allowed": 0}),
        ({"offline_allowed": 0}, {"offline_allowed": b"1"}, {}),
    ],
)
def test_settings_are_lowered_and_never_raised(
    stored: dict[str, int], said: dict[str, bytes], changed: dict[str, int]
) -> None:
    assert restricted_fields(STORED | stored, said) == changed


WEB, API = Group("web", "team", "web"), Group("api", "team", "api")


@pytest.mark.parametrize(
    ("stored", "said", "after"),
    [
        ([], [replace(WEB, cap=2, reserve=1, head_start_ms=60_000)], [replace(WEB, cap=2)]),
        ([WEB], [replace(WEB, cap=2)], [replace(WEB, cap=2)]),
        ([replace(WEB, cap=1)], [replace(WEB, cap=2)], [replace(WEB, cap=1)]),
        ([replace(WEB, cap=5, reserve=3)], [replace(WEB, cap=2)], [replace(WEB, cap=2, reserve=2)]),
        ([replace(WEB, cap=2)], [WEB], [replace(WEB, cap=2)]),
        ([replace(WEB, cap=2)], [], [replace(WEB, cap=2)]),
        ([API], [replace(API, value="x", cap=1)], [API]),
        ([WEB], [replace(API, cap=1)], [WEB, replace(API, cap=1)]),
    ],
)
def test_caps_are_lowered_and_reserves_never_said_again(
    stored: list[Group], said: list[Group], after: list[Group]
) -> None:
    before = STORED | {"policy": pack_policy(stored)}
    changed = restricted_fields(before, {"policy": pack_policy(said)})
    assert unpack_policy(bytes((before | changed)["policy"])) == tuple(after)  # type: ignore[arg-type]  # bytes


@pytest.mark.parametrize(
    ("stored", "said", "role"),
    [
        ("owner", b"member 1", "member"),
        ("member", b"owner 1", "member"),
        ("admin", b"admin 1", "admin"),
        ("admin", NOTHING, None),
    ],
)
def test_roles_are_lowered_and_never_raised(stored: str, said: bytes, role: str | None) -> None:
    assert restricted_role(stored, said) == role


def packed(record: KeyRecord) -> bytes:
    value = record.edit().value
    assert isinstance(value, bytes)
    return value


def test_a_key_loses_what_was_taken_and_gets_nothing() -> None:
    said = replace(KEY, scopes=frozenset({"run", "admin"}), expires_wall_seconds=1_000)
    assert restricted_key(KEY, packed(said)) == replace(
        KEY, scopes=frozenset({"run"}), expires_wall_seconds=1_000
    )
    assert restricted_key(KEY, packed(KEY.revoked(FINISHING))).state == FINISHING
    assert restricted_key(KEY.revoked(REVOKED), packed(KEY)).state == REVOKED
    assert restricted_key(KEY, NOTHING).state == REVOKED


def test_a_rotated_key_has_its_new_secret_and_not_the_old_one() -> None:
    rotated = replace(KEY, digest=b"new", old_digest=b"digest", old_until_wall_seconds=1)
    again = restricted_key(KEY, packed(rotated))
    assert (again.digest, again.old_digest, again.old_until_wall_seconds) == (b"new", b"digest", 1)


def test_a_change_says_what_it_does_to_members_users_keys_and_licenses() -> None:
    said = facts_of_edits(
        "acme",
        [
            Member("ada@example.com", "owner", 7).edit("acme"),
            Edit(keys.members("acme"), "bob@example.com"),
            Edit(keys.registered("acme", "studio"), "bob@example.com"),
            Edit(keys.licenses("acme"), "kre"),
            Edit(keys.organization("acme"), "name", "Acme"),
            Edit(keys.members("acme")),
        ],
    )
    assert said == {
        "member ada@example.com": (0, b"owner 7"),
        "member bob@example.com": (0, NOTHING),
        "user studio bob@example.com": (0, NOTHING),
        "license kre": (0, NOTHING),
    }
    assert facts_of_quota("kre", {"kind": "floating", "seats": 5, "ttl": 30_000}) == {
        "seats kre": (0, b"5"),
        "license kre": (0, b"floating"),
    }


@pytest.mark.parametrize("name", ["organization", "seats kre", "user studio bob@example.com"])
def test_the_name_of_a_fact_says_what_it_is_about(name: str) -> None:
    assert str(Target.of(name)) == name
