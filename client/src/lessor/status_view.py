"""The lines of ``lessor status --watch``: each license with its holders and its line."""

from __future__ import annotations

import time

from lessor_protocol.duration import format_duration

from lessor.agent.explain import roughly, seconds_since
from lessor.text import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Item = dict[str, object]

_USER, _MACHINE, _TIME = 14, 16, 7
_LABELS_SHOWN = ("job_url", "branch")
_WAITERS_SHOWN = 20


def lines(found: Item, wall_seconds: float) -> list[str]:
    """The view, for any width: cut lines lose the command first."""
    stamp = time.strftime("%H:%M:%S", time.localtime(wall_seconds))
    shown = [f"{_text(found.get('organization'))} at {_text(found.get('url'))}  {stamp}"]
    trouble = found.get("trouble")
    if isinstance(trouble, str):
        shown.append(f"no fresh answer: {clean(trouble)}")
    leases, queues = _objects(found.get("leases")), found.get("queues")
    for license in _objects(found.get("licenses")):
        name = _text(license.get("name"))
        line = queues.get(name) if isinstance(queues, dict) else None
        mine = [one for one in leases if one.get("license") == name]
        told = reminder(license)
        shown += ["", _license_line(license), *([f"  {told}"] if told else [])]
        shown += _holders(mine, wall_seconds)
        shown += _waiting(_objects(line), license.get("queue_length"), wall_seconds)
    return shown


def reminder(license: Item) -> str:
    """What to say of a term that ends soon, where the server says that it is time to."""
    days = license.get("expires_in_days")
    if not isinstance(license.get("reminder"), int) or not isinstance(days, int):
        return ""
    name, moment = _text(license.get("name")), _text(license.get("expires"))
    if license["reminder"] == 0:
        return f"{name} EXPIRED ({moment}): running sessions finish, nobody new starts"
    when = {0: "in less than a day", 1: "in 1 day"}.get(days, f"in {days} days")
    return f"{name} expires {when} ({moment}): from then on nobody new starts"


def _license_line(license: Item) -> str:
    parts = [f"{_text(license.get('available'))} of {_text(license.get('seats'))} seats free"]
    quota = license.get("machine_quota")
    if isinstance(quota, int):
        parts.append(f"machines {_text(license.get('machines'))}/{quota}")
    if license.get("offline_seats"):
        parts.append(f"{_text(license.get('offline_seats'))} offline")
    if license.get("drained"):
        parts.append("DRAINED: nobody new")
    return f"{_text(license.get('name'))}  {', '.join(parts)}"


def _holders(leases: Sequence[Item], wall_seconds: float) -> list[str]:
    rows = []
    for lease in sorted(leases, key=lambda one: str(one.get("granted_at"))):
        process, machine = lease.get("process"), lease.get("machine")
        process = process if isinstance(process, dict) else {}
        machine = machine if isinstance(machine, dict) else {}
        where = machine.get("name") or machine.get("id")
        row = {**lease, **process, "machine": where, "since": lease.get("granted_at")}
        rows.append(_row("  runs", row, wall_seconds))
    return rows


def _waiting(line: Sequence[Item], length: object, wall_seconds: float) -> list[str]:
    rows = [
        _row(f"  {_text(one.get('position')):>4}", one, wall_seconds)
        for one in line[:_WAITERS_SHOWN]
    ]
    more = length - len(rows) if isinstance(length, int) else 0
    return rows + ([f"       and {more} more wait"] if more > 0 else [])


def _row(mark: str, one: Item, wall_seconds: float) -> str:
    seconds = seconds_since(str(one.get("since") or ""), wall_seconds)
    age = "-" if seconds is None else format_duration(seconds * 1000)
    seats = one.get("seats")
    count = f"{seats} seats  " if isinstance(seats, int) and seats > 1 else ""
    labels = one.get("labels")
    told = (
        [labels[name] for name in _LABELS_SHOWN if labels.get(name)]
        if isinstance(labels, dict)
        else []
    )
    about = "  ".join(
        [*_expected(one), *(clean(str(label)) for label in told), _text(one.get("command"))]
    )
    user, machine = _cut(one.get("user"), _USER), _cut(one.get("machine"), _MACHINE)
    return f"{mark}  {user}  {machine}  {age:>{_TIME}}  {count}{about}"


def _expected(one: Item) -> list[str]:
    """``≈4m (12m)``: probably in four minutes, 9 of 10 times within twelve."""
    found = one.get("estimate")
    if not isinstance(found, dict):
        return []
    p50, p90 = found.get("p50"), found.get("p90")
    if not isinstance(p50, (int, float)) or not isinstance(p90, (int, float)):
        return []
    return [f"≈{roughly(round(p50 * 1000))} ({roughly(round(p90 * 1000))})"]


def _cut(value: object, width: int) -> str:
    text = _text(value)
    return (text if len(text) <= width else f"{text[: width - 1]}…").ljust(width)


def _text(value: object) -> str:
    return clean(str(value)) if value not in (None, "") else "-"


def _objects(value: object) -> list[Item]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
