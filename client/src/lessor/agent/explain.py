"""What people read while they wait for a seat, and when they get none."""

from __future__ import annotations

from lessor_protocol.duration import format_duration
from lessor_protocol.errors import NO_SEAT, TRANSIENT
from lessor_protocol.lease import UNREACHABLE

from lessor.text import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lessor_protocol.errors import Problem
    from lessor_protocol.queued import Estimate, Holder

_HOLDERS_SHOWN = 5
_COMMAND_SHOWN = 60
_LABELS_SHOWN = ("job_url", "branch")

_BLOCKED = {
    "seats": "all seats are taken",
    "machines": "all places for machines are taken",
    "cap": "the seats that the group may hold are taken",
    "drained": "the license is drained, nobody new gets a seat",
    "seats_exhausted": "all seats are taken",
    "machines_exhausted": "all places for machines are taken",
    "recovering": "the server is recovering and grants seats again soon",
    "draining": "the server is being stopped and grants no new seat meanwhile",
    "store_unavailable": "the server cannot reach its store",
    "rate_limited": "the server takes no more requests for now",
    "internal": "the server failed",
}

COMMAND_LINE = {
    "wait": "--wait",
    "seats": "--seats",
    "license": "--license or LESSOR_LICENSE",
    "key": "LESSOR_API_KEY or LESSOR_API_KEY_FILE",
    "url": "LESSOR_URL",
    "connect": "--connect-timeout",
}
"""How who starts a command says what the advice is about."""
IN_PYTHON = {
    "wait": "wait=",
    "seats": "seats=",
    "license": "the license given or LESSOR_LICENSE",
    "key": "api_key=, LESSOR_API_KEY or LESSOR_API_KEY_FILE",
    "url": "url= or LESSOR_URL",
    "connect": "connect_timeout=",
}
"""The same for a program."""

_FREE_A_SEAT = "wait longer with {wait}, or ask a holder or an admin to free a seat"
_TOO_MANY = "ask for fewer with {seats}"
_FREE_A_MACHINE = "run on a registered machine, or ask an admin to remove one"
_ADVICE = {
    "seats": _FREE_A_SEAT,
    "machines": _FREE_A_MACHINE,
    "cap": "wait longer with {wait}, or ask an admin to raise the group's cap",
    "drained": "ask an admin when the license is open again, or wait for it with {wait}",
    "seats_exhausted": _FREE_A_SEAT,
    "machines_exhausted": _FREE_A_MACHINE,
    "unauthenticated": "check {key}",
    "revoked": "ask an admin for a new key",
    "license_expired": "ask an admin to renew the license",
    "unknown_license": "check {license}; lessor status lists the licenses",
    "recovering": "try again in a minute, or wait with {wait}",
    "draining": "try again in a moment, or name another server too in {url}",
    "store_unavailable": "try longer with {connect}, or ask the operator of the server",
    "rate_limited": "try again in a little while",
    "internal": "ask the operator of the server, whose log says more",
    UNREACHABLE: "check {url} and the network",
}


def field_of(problem: Problem) -> str:
    """Which field of the request a refusal complains of; empty where it names none."""
    found = problem.data.get("field")
    return found if isinstance(found, str) else ""


def describe_holders(holders: list[Holder], wall_seconds: float) -> str:
    """``held by ada on ci-1 (pytest -x) for 5m; bob on …``; empty for none."""
    if not holders:
        return ""
    shown = [_describe_holder(holder, wall_seconds) for holder in holders[:_HOLDERS_SHOWN]]
    more = len(holders) - len(shown)
    return "held by " + "; ".join(shown) + (f"; and {more} more" if more else "")


def _describe_holder(holder: Holder, wall_seconds: float) -> str:
    text = f"{holder.user or 'somebody'} on {holder.machine or 'some machine'}"
    about = [clean(holder.command, _COMMAND_SHOWN)] if holder.command else []
    about += [f"{holder.seats} seats"] if holder.seats > 1 else []
    if about:
        text += f" ({', '.join(about)})"
    seconds = seconds_since(holder.since, wall_seconds)
    if seconds is not None:
        text += f" for {format_duration(seconds * 1000)}"
    labels = [holder.labels[name] for name in _LABELS_SHOWN if holder.labels.get(name)]
    return text + (f" [{', '.join(labels)}]" if labels else "")


def seconds_since(since: str, wall_seconds: float) -> int | None:
    """How long ago an RFC 3339 time was. Other clocks may differ from ours, so never below 0."""
    if not since:
        return None
    from datetime import UTC, datetime  # noqa: PLC0415 - only who waits pays for it

    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0, int(wall_seconds - moment.timestamp()))


def describe_block(blocked_by: str) -> str:
    """Why nobody gets in now."""
    return _BLOCKED.get(blocked_by, f"blocked by {blocked_by}")


def describe_estimate(estimate: Estimate | None) -> str:
    """``probably 4m more, 9 of 10 times at most 12m (by 120 sessions)``; empty where unknown."""
    if estimate is None:
        return ""
    p50, p90 = (roughly(ms) for ms in (estimate.p50_ms, estimate.p90_ms))
    return f"probably {p50} more, 9 of 10 times at most {p90} (by {estimate.sessions} sessions)"


def roughly(ms: int) -> str:
    """A guess has no business with seconds beyond a few minutes, nor with less than one."""
    minute = 60_000
    step = minute if ms >= 5 * minute else 1_000
    return format_duration(max(ms // step * step, 1_000))


def describe_wait(
    license: str,
    position: int,
    blocked_by: str,
    holders: list[Holder],
    wall_seconds: float,
    *,
    estimate: Estimate | None = None,
) -> str:
    """One line for who waits."""
    place = f", position {position}" if position else ""
    parts = [f"waiting for a seat of {license}{place}: {describe_block(blocked_by)}"]
    parts += [describe_estimate(estimate), describe_holders(holders, wall_seconds)]
    return "; ".join(part for part in parts if part)


def describe_refusal(
    license: str,
    code: str,
    reason: str,
    holders: list[Holder],
    wall_seconds: float,
    *,
    blocked_by: str = "",
    field: str = "",
    terms: Mapping[str, str] = COMMAND_LINE,
) -> str:
    """Why there is no seat, who has them, and what to do.

    ``blocked_by`` and ``field`` are what the refusal says more exactly; ``terms`` how the reader
    says what the advice is about.
    """
    what = f"seat of {license}" if license else "seat"
    why = blocked_by if code in NO_SEAT and blocked_by in _ADVICE else code
    if code in NO_SEAT or code == "recovering":
        text = f"no {what}: {describe_block(why)}"
        held = describe_holders(holders, wall_seconds)
        text += f"; {held}" if held else ""
    elif code == UNREACHABLE:
        text = f"no server could be reached: {reason}"
    elif code in TRANSIENT:
        text = f"no server could give a {what} in time: {reason or code} ({code})"
    elif code == "invalid":
        text = f"the request for a {what} is not valid: {reason or field}"
    else:
        text = f"no {what}: {reason or code} ({code})"
    advice = _TOO_MANY if (code, field) == ("invalid", "seats") else _ADVICE.get(why, "")
    return f"{text}; {advice.format_map(terms)}" if advice else text
