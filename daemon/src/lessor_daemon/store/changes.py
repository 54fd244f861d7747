"""Scripts that change the directory: a change and its entry in the audit are one, or neither is.

A change is decided on what was read at some version of the organization. The script makes it only
if that is still the version, else it answers ``MOVED`` and the caller decides anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgpack

from . import facts, keys, lua
from .scripts import read_reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .facts import Facts
    from .scripts import Context, Reading
    from .store import Store

_CHANGE = lua.load("change")
_QUOTA = lua.load("quota")

UNLIMITED = -1
AS_SEATS = -2
"""A machine quota that follows the seats."""

MADE = "made"
MOVED = "moved"
IN_USE = "in_use"
BELOW_USE = "below_use"


@dataclass(frozen=True, slots=True)
class Edit:
    """Set a field of a hash; without a value remove the field, without a field the whole key."""

    key: str
    field: str | None = None
    value: bytes | str | None = None


@dataclass(frozen=True, slots=True)
class EndOnline:
    """End a registered user's online session, should there be one."""

    license: str
    email: str
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class ChangeMark:
    """What orders a change and tells a repeated call of it: the version it was decided on.

    ``entry`` is for the audit, empty for none. ``change_id`` is random. ``facts`` are what daemons
    remember of it, see ``store/facts.py``.
    """

    version: int | None
    change_id: bytes
    entry: bytes
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Changed:
    """``status``: ``MADE``, ``MOVED``, ``IN_USE`` or ``RECOVERING``.

    ``ending`` sessions have begun to end.
    """

    status: str
    version: int
    ending: int


async def version(store: Store, org: str) -> int:
    """The number of the organization's last change."""
    found = await store.attempt(lambda: store.redis.hget(keys.clock(org), "version"))
    return int(found or 0)


async def change(
    store: Store,
    org: str,
    context: Context,
    mark: ChangeMark,
    *,
    edits: Sequence[Edit],
    unused: Sequence[str] = (),
    endings: Sequence[EndOnline] = (),
) -> tuple[Reading, Changed]:
    """Make all ``edits`` if the version fits and none of the licenses ``unused`` holds a seat."""
    status, reading, (now, ending) = read_reply(
        await store.call_durably(
            _CHANGE,
            org,
            [
                context.words(),
                *_words(mark),
                _pack([_edit(one) for one in edits]),
                _pack(list(unused)),
                _pack([[one.license, one.email, one.reason, one.text] for one in endings]),
                facts.pack(mark.facts),
            ],
        )
    )
    return reading, Changed(_made(status), now, ending)


@dataclass(frozen=True, slots=True)
class QuotaAnswer:
    """``status``: ``MADE``, ``MOVED``; unforced also ``BELOW_USE`` or ``RECOVERING``."""

    status: str
    version: int
    leases: int
    machines: int
    offline_seats: int
    registered_users: int


async def quota(
    store: Store,
    org: str,
    context: Context,
    mark: ChangeMark,
    *,
    license: str,
    fields: Mapping[str, str | int | bytes],
    force: bool,
) -> tuple[Reading, QuotaAnswer]:
    """Set what a license allows; ``lua/quota.lua`` names the fields. Others stay as they are."""
    version_word, change_id, entry = _words(mark)
    status, reading, rest = read_reply(
        await store.call_durably(
            _QUOTA,
            org,
            [
                context.words(),
                license,
                _pack(dict(fields)),
                int(force),
                version_word,
                change_id,
                entry,
                facts.pack(mark.facts),
            ],
        )
    )
    return reading, QuotaAnswer(_made(status), *rest)


def _words(mark: ChangeMark) -> list[bytes | str | int]:
    return ["" if mark.version is None else mark.version, mark.change_id, mark.entry]


def _edit(edit: Edit) -> list[object]:
    if edit.field is None:
        return [edit.key]
    return [edit.key, edit.field] if edit.value is None else [edit.key, edit.field, edit.value]


def _pack(value: object) -> bytes:
    # The scripts' msgpack is the old one, which has no type for bytes beside strings.
    packed: bytes = msgpack.packb(value, use_bin_type=False)
    return packed


def _made(status: str) -> str:
    return MADE if status in ("changed", "set", "repeated") else status
