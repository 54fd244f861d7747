"""What a daemon says again to a store that forgot: only what restricts.

A fact is what administration said last about one thing. Here stands which facts a change says, and
what a fact still asks for when the store is behind it. The rule: a fact may take seats, rights and
terms away, and never gives any. So a daemon that knows only a part of what was said can make
things too strict, which an admin sees and mends, and never too lax.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lessor_daemon.store import keys as key_names
from lessor_daemon.store.changes import AS_SEATS, UNLIMITED
from lessor_daemon.store.directory import FINISHING, REVOKED, KeyRecord

from .callers import Rank
from .policy import MOST_GROUPS, pack_policy, unpack_policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lessor_daemon.store.changes import Edit
    from lessor_daemon.store.facts import Fact, Facts

    from .licenses import Fields
    from .policy import Group

ORGANIZATION = "organization"
"""The fact without a target: nothing that was said before it counts, but for what ``is_out_there``.
Empty for a removed one."""
LICENSE = "license"
"""The kind a license was made of; empty for a removed one. No earlier registration counts."""
MEMBER = "member"
USER = "user"
KEY = "key"
OFFLINE = "offline"
ENDING = "ending"
"""A session that is being ended; only daemons remember it, see ``Memory``."""

POLICY = "policy"
LIMITS = ("seats", "machines", "drained", "starts", "expires", "offline_allowed", POLICY)
"""Settings of a license that restrict; each is a fact of its own."""

NOTHING = b""
THERE = b"1"
"""Of an organization; and of a license where somebody remembers it from when no kind was said."""

_STATES = ("", FINISHING, REVOKED)


@dataclass(frozen=True, slots=True)
class Target:
    """A fact's name, taken apart: ``kind`` and up to two names."""

    kind: str
    name: str = ""
    email: str = ""

    @classmethod
    def of(cls, fact_name: str) -> Target:
        """Of the fact with this name."""
        kind, _, rest = fact_name.partition(" ")
        name, _, email = rest.partition(" ")
        return cls(kind, name, email)

    def __str__(self) -> str:
        return " ".join(part for part in (self.kind, self.name, self.email) if part)


def is_out_there(fact: Fact) -> bool:
    """Whether it is about a file that holds seats wherever it is, whatever became of those here."""
    return Target.of(fact.name).kind == OFFLINE and fact.value != NOTHING


def facts_of_edits(org: str, edits: Sequence[Edit]) -> dict[str, tuple[int, bytes]]:
    """What these edits say about members, keys, registered users and licenses."""
    said: dict[str, tuple[int, bytes]] = {}
    for edit in edits:
        target = None if edit.field is None else _target(org, edit.key, edit.field)
        if target is not None:
            said[str(target)] = (0, _bytes(edit.value))
    return said


def facts_of_quota(license: str, fields: Mapping[str, str | int | bytes]) -> Facts:
    """What these settings say about a license; with its kind they make it."""
    said = {str(Target(one, license)): (0, _bytes(fields[one])) for one in LIMITS if one in fields}
    if "kind" in fields:
        said[str(Target(LICENSE, license))] = (0, _bytes(fields["kind"]))
    return said


def restricted_fields(stored: Fields, said: Mapping[str, bytes]) -> Fields:
    """The settings of a license that are to change, by what was ``said`` of each kind."""
    wanted = {one: int(value) for one, value in said.items() if one in LIMITS and one != POLICY}
    changed: Fields = {}
    seats = min(int(stored["seats"]), wanted.get("seats", int(stored["seats"])))
    changed["seats"] = seats
    machines, said_machines = int(stored["machines"]), wanted.get("machines")
    if said_machines is not None and _quota(said_machines, seats) < _quota(machines, seats):
        changed["machines"] = said_machines
    is_another = said.get(LICENSE, THERE) not in (THERE, _bytes(stored["kind"]))
    if wanted.get("drained") or is_another:
        # A license that was removed, or made anew of another kind, does not come back to life; an
        # admin removes what is left.
        changed["drained"] = 1
    if wanted.get("offline_allowed") == 0:
        changed["offline_allowed"] = 0
    if wanted.get("starts", 0) > int(stored["starts"]):
        changed["starts"] = wanted["starts"]
    expires = wanted.get("expires", 0)
    if expires and (not stored["expires"] or expires < int(stored["expires"])):
        changed["expires"] = expires
    if POLICY in said:
        changed[POLICY] = _with_caps(stored[POLICY], said[POLICY])
    return {one: value for one, value in changed.items() if value != stored[one]}


def _with_caps(stored: str | int | bytes, said: bytes) -> bytes:
    """The stored policy with the caps that were said, where those are lower.

    A group that the store does not have comes back with its cap alone: a reserve and a head start
    give to some what they take from others. One that has taken another's name stays away.
    """
    has = unpack_policy(stored if isinstance(stored, bytes) else b"")
    caps = {(one.label, one.value): one for one in unpack_policy(said) if one.cap is not None}
    groups = [_lowered(one, caps.pop((one.label, one.value), one).cap) for one in has]
    names = {one.name for one in has}
    groups += [
        replace(one, head_start_ms=0, reserve=0) for one in caps.values() if one.name not in names
    ]
    return pack_policy(groups[:MOST_GROUPS])


def _lowered(group: Group, cap: int | None) -> Group:
    if cap is None or (group.cap is not None and group.cap <= cap):
        return group
    return replace(group, cap=cap, reserve=min(group.reserve, cap))


def restricted_key(stored: KeyRecord, said: bytes) -> KeyRecord:
    """The key without what was taken from it, and with the secret it had last."""
    if said == NOTHING:
        return stored.revoked(REVOKED)
    wanted = KeyRecord.unpack(said)
    expiries = [one.expires_wall_seconds for one in (stored, wanted) if one.expires_wall_seconds]
    return replace(
        stored,
        state=max(stored.state, wanted.state, key=_STATES.index),
        scopes=stored.scopes & wanted.scopes,
        expires_wall_seconds=min(expiries, default=0),
        digest=wanted.digest,
        old_digest=wanted.old_digest,
        old_until_wall_seconds=wanted.old_until_wall_seconds,
    )


def restricted_role(stored: str, said: bytes) -> str | None:
    """The member's role, None for no member any more."""
    if said == NOTHING:
        return None
    role = said.decode().partition(" ")[0]
    return min(stored, role, key=lambda one: Rank[one.upper()])


def _target(org: str, key: str, field: str) -> Target | None:
    if key == key_names.members(org):
        return Target(MEMBER, field)
    if key == key_names.api_keys(org):
        return Target(KEY, field)
    if key == key_names.licenses(org):
        return Target(LICENSE, field)
    license = key.removeprefix(f"{{{org}}}:").removesuffix(":registered")
    return Target(USER, license, field) if key == key_names.registered(org, license) else None


def _quota(machines: int, seats: int) -> float:
    if machines == AS_SEATS:
        return seats
    return float("inf") if machines == UNLIMITED else machines


def _bytes(value: bytes | str | int | None) -> bytes:
    if value is None:
        return NOTHING
    return value if isinstance(value, bytes) else str(value).encode()
