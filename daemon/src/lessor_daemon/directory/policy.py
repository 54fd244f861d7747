"""The policy of a license: its groups and what each may do. ``docs/policy.md`` is the rule.

The scripts apply it (``store/lua/lib/policy.lua``); here it is read, checked and shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack
from lessor_protocol.fields import Reader, invalid

from lessor_daemon.values import LONGEST_HEAD_START_MS, MOST_SEATS, check_group_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lessor_protocol.errors import Problem

MOST_GROUPS = 20
"""Each free seat looks at every group once."""
LONGEST_HEAD_START_SECONDS = LONGEST_HEAD_START_MS // 1000
"""The bound on starvation: nobody is overtaken by who came later than that after them."""
MAX_LABEL_VALUE = 256


@dataclass(frozen=True, slots=True)
class Group:
    """Those whose process carries the label ``label`` with ``value``.

    ``head_start_ms`` puts them that much further ahead in the line, ``reserve`` seats are first
    theirs, and they hold at most ``cap`` (None: no cap).
    """

    name: str
    label: str
    value: str
    head_start_ms: int = 0
    reserve: int = 0
    cap: int | None = None

    def to_wire(self) -> dict[str, object]:
        """As the API shows it; durations are seconds."""
        return {
            "name": self.name,
            "label": {self.label: self.value},
            "head_start": self.head_start_ms / 1000,
            "reserve": self.reserve,
            "cap": self.cap,
        }


EVERYBODY_ELSE = Group("", "", "")


def group_of(policy: Iterable[Group], labels: Mapping[str, str]) -> Group:
    """The first group whose label is carried, else that of everybody else."""
    for group in policy:
        if labels.get(group.label) == group.value:
            return group
    return EVERYBODY_ELSE


def read_policy(items: Iterable[tuple[str, object]]) -> tuple[Group, ...]:
    """The groups of a message, each with its path. Raises ``Problem`` ``invalid``."""
    groups: list[Group] = []
    for path, item in items:
        group = _read_group(Reader(item, path), path)
        if any(group.name == other.name for other in groups):
            raise invalid(f"{path}.name", f"is there twice: {group.name!r}")
        groups.append(group)
    return tuple(groups)


def _read_group(fields: Reader, path: str) -> Group:
    labels = fields.labels("label", most=1, longest=MAX_LABEL_VALUE)
    if not labels:
        raise invalid(f"{path}.label", 'must be one label, as {"team": "payments"}')
    ((label, value),) = labels.items()
    group = Group(
        check_group_name(fields.text("name"), f"{path}.name"),
        label,
        value,
        head_start_ms=fields.seconds_as_ms(
            "head_start", default=0, most=LONGEST_HEAD_START_SECONDS
        ),
        reserve=fields.integer("reserve", default=0, most=MOST_SEATS),
        cap=fields.integer("cap", least=1, most=MOST_SEATS) if fields.has("cap") else None,
    )
    if group.cap is not None and group.reserve > group.cap:
        raise invalid(f"{path}.reserve", "must not be above the cap")
    return group


def pack_policy(groups: Iterable[Group]) -> bytes:
    """As the scripts read it; empty for no groups."""
    packed = [
        {
            "name": group.name,
            "label": group.label,
            "value": group.value,
            "head_start": group.head_start_ms,
            "reserve": group.reserve,
            "cap": -1 if group.cap is None else group.cap,
        }
        for group in groups
    ]
    # The scripts' msgpack is the old one, which has no type for bytes beside strings.
    return bytes(msgpack.packb(packed, use_bin_type=False)) if packed else b""


def unpack_policy(packed: bytes) -> tuple[Group, ...]:
    """What ``pack_policy`` wrote."""
    items: list[dict[str, Any]] = msgpack.unpackb(packed) if packed else []
    return tuple(
        Group(
            item["name"],
            item["label"],
            item["value"],
            item["head_start"],
            item["reserve"],
            item["cap"] if item["cap"] >= 0 else None,
        )
        for item in items
    )


def policy_to_wire(groups: Iterable[Group]) -> list[dict[str, object]]:
    """As the API shows it."""
    return [group.to_wire() for group in groups]


def refuse_for_named_users() -> Problem:
    """A named-user license has no line: each seat has its user."""
    return invalid("policy", "is for floating licenses: a named-user license has no line")
