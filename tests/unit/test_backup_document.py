"""The parts of a backup: whole by themselves, in a safe order, and nothing strange in them."""

from __future__ import annotations

import zlib
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from lessor_daemon.directory.backup_document import (
    DAMAGED,
    License,
    Organization,
    parts_of,
    read_part,
)
from lessor_daemon.store.directory import KeyRecord, Member
from lessor_daemon.store.offline import OfflineRecord
from lessor_protocol.errors import Problem
from support.large_directory import large_organization

if TYPE_CHECKING:
    from lessor_daemon.directory.backup_document import Part

KEY = KeyRecord("abc", "acme", "ci", "", frozenset({"run"}), b"digest", 0)
RECORD = OfflineRecord("s1", "kre", "island", 1, 1, "olga", 2, "k1", b"key")
SMALL = Organization(
    "acme",
    "Acme",
    [Member("olga@example.com", "owner", 1)],
    [License("kre", {"kind": "floating", "seats": 2, "policy": b""}, {"olga@example.com": 1})],
    [KEY],
    [RECORD],
)


def again(part: Part) -> Part:
    wire: dict[str, Any] = part.to_wire()
    return read_part(wire["data"], wire["part"], wire["parts"], "organizations[0]")


def test_a_small_organization_is_one_part_and_comes_back_as_it_was() -> None:
    (part,) = parts_of(SMALL)
    assert part.is_last
    assert again(part) == part
    assert len(parts_of(Organization("empty", "Empty"))) == 1


def test_a_large_one_is_in_parts_that_fit_into_a_call_and_lack_nothing() -> None:
    whole = large_organization("acme", members=3_000, keys=3_000, offline=1_000)
    parts = [again(part) for part in parts_of(whole)]
    assert len(parts) > 2
    assert [part.is_last for part in parts] == [False] * (len(parts) - 1) + [True]
    assert max(len(str(part.to_wire()["data"])) for part in parts) < 512 * 1024
    found = [part.organization for part in parts]
    assert [one for part in found for one in part.members] == whole.members
    assert [one for part in found for one in part.keys] == whole.keys
    assert [one for part in found for one in part.offline] == whole.offline
    users = {email for part in found for one in part.licenses for email in one.users}
    assert users == set(whole.licenses[0].users)


def test_no_key_comes_before_all_that_holds_seats() -> None:
    whole = large_organization("acme", members=3_000, keys=3_000, offline=1_000)
    first_key = next(part.number for part in parts_of(whole) if part.organization.keys)
    assert all(part.number <= first_key for part in parts_of(whole) if part.organization.offline)


@pytest.mark.parametrize(
    "strange",
    [
        replace(SMALL, slug="a}:b"),
        replace(SMALL, name="\x1b[2J"),
        replace(SMALL, members=[Member("no address", "owner", 1)]),
        replace(SMALL, members=[Member("a@example.com", "operator", 1)]),
        replace(SMALL, licenses=[License("kre", {"kind": "floating", "seats": "2"}, {})]),
        replace(SMALL, licenses=[License("kre", {"kind": "floating", "seats": -1}, {})]),
        replace(
            SMALL, licenses=[License("kre", {"kind": "floating", "seats": 1, "offline": 0}, {})]
        ),
        replace(SMALL, licenses=[License("a:b", {"kind": "floating", "seats": 1}, {})]),
        replace(
            SMALL,
            licenses=[License("kre", {"kind": "floating", "seats": 1, "policy": b"\x01"}, {})],
        ),
        replace(SMALL, keys=[replace(KEY, scopes=frozenset({"operator"}))]),
        replace(SMALL, keys=[replace(KEY, org="other")]),
        replace(SMALL, keys=[replace(KEY, key_id="a b")]),
        replace(SMALL, keys=[replace(KEY, digest="text")]),  # type: ignore[arg-type]  # on purpose
        replace(SMALL, offline=[replace(RECORD, seats=-5)]),
        replace(SMALL, offline=[replace(RECORD, serial="a\nb")]),
    ],
)
def test_what_cannot_be_in_a_backup_is_refused(strange: Organization) -> None:
    (part,) = parts_of(strange)
    with pytest.raises(Problem) as caught:
        again(part)
    assert caught.value.code == "invalid"


@pytest.mark.parametrize(
    "packed", [b"", b"\xc1", b"\x01", msgpack.packb({"slug": "acme"}), msgpack.packb({1: 2})]
)
def test_what_is_damaged_is_refused_in_our_own_words(packed: bytes) -> None:
    for data in (b64encode(packed).decode(), b64encode(zlib.compress(packed)).decode(), "é", "a"):
        with pytest.raises(Problem) as caught:
            read_part(data, 1, 1, "organizations[0]")
        _, _, why = caught.value.detail.rpartition(": ")
        assert why in (DAMAGED, "it is cut short, or unfolds too far")


def test_what_has_unknown_fields_is_refused_in_our_own_words() -> None:
    packed = msgpack.packb(
        {"slug": "acme", "name": "Acme", "members": [{"rank": 1}], "licenses": [], "keys": []}
    )
    with pytest.raises(Problem, match=DAMAGED):
        read_part(b64encode(zlib.compress(packed)).decode(), 1, 1, "organizations[0]")
