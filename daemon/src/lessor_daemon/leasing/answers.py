"""What the scripts' outcomes mean to the caller: places in the line, refusals, lost leases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol import timing
from lessor_protocol.errors import Problem
from lessor_protocol.lease_id import format_lease_id
from lessor_protocol.messages import Lost, RenewAnswer
from lessor_protocol.queued import Queued

from lessor_daemon.store.errors import RECOVERING, recovering
from lessor_daemon.store.scripts import Noticed

if TYPE_CHECKING:
    from lessor_protocol.messages import Renewal
    from lessor_protocol.queued import Estimate, Holder

    from lessor_daemon.store.scripts import InLine, NotGranted

    from .renewals import Result

UNKNOWN = "unknown"
"""A renewal's result for a lease that the store has no memory of."""

REASONS = {
    "lapsed": "it was not renewed in time",
    "released": "it was released",
    "ended": "an admin ended it",
    "taken_over": "the license was activated on another machine",
    "withdrawn": "the license was withdrawn from its user",
    "member_removed": "its user is not a member any more",
    "machine_removed": "its machine was removed",
    "key_revoked": "its API key was revoked",
    "idle": "nothing was done for long",
    UNKNOWN: "no such lease",
}
"""Why a lease is no more, where nobody has said it better."""

ASK_AGAIN_MS = 250
ASK_AGAIN_STEP_MS = 50
LONGEST_ASK_AGAIN_MS = 1_000
"""Shorter than an offered seat stays reserved (``OFFER_MS`` in ``store/lua/lib/line.lua``)."""

CROWDED_RETRY_SECONDS = 5.0


def queued(place: InLine, holders: list[Holder], estimate: Estimate | None) -> Queued:
    """A place in the line. Those in front ask more often."""
    pause_ms = ASK_AGAIN_MS + ASK_AGAIN_STEP_MS * (place.position - 1)
    return Queued(
        ticket=place.ticket,
        position=place.position,
        blocked_by=place.blocked_by,
        holders=holders,
        retry_after_ms=min(pause_ms, LONGEST_ASK_AGAIN_MS),
        estimate=estimate,
    )


def full(license: str, blocked_by: str, holders: list[Holder]) -> Problem:
    """Nothing is free, and the caller would not wait."""
    data: dict[str, object] = {
        "holders": [holder.to_wire() for holder in holders],
        "blocked_by": blocked_by,
    }
    if blocked_by == "machines":
        data["hint"] = "run on a machine that is registered, or have an admin remove one"
        text = f"all registered machines of license {license!r} are taken"
        return Problem("machines_exhausted", text, data=data)
    if blocked_by == "drained":
        data["hint"] = "an admin lets the license run empty: try again later, or ask them"
        return Problem("seats_exhausted", f"license {license!r} is drained: nobody new", data=data)
    if blocked_by == "cap":
        data["hint"] = "wait for a seat of your group, or ask an admin to raise its cap"
        return Problem("seats_exhausted", f"your group's seats of {license!r} are taken", data=data)
    data["hint"] = "wait for a seat, or ask one of the holders to finish"
    return Problem("seats_exhausted", f"all seats of license {license!r} are taken", data=data)


def refusal(license: str, refused: NotGranted) -> Problem:
    """Any other reason why there is no lease."""
    if refused.status == "ended":
        by = "an admin has ended it" if refused.why == "ended" else refused.why
        return Problem(
            "lease_ended",
            f"this lease has ended ({by}); acquire a new one under a new id",
            data={"reason": refused.why},
        )
    if refused.status == RECOVERING:
        return recovering()
    if refused.status == "crowded":
        text = f"{refused.why} wait in this organization, which is the most that may"
        return Problem("rate_limited", text, retry_after=CROWDED_RETRY_SECONDS)
    if refused.why == "not_started":
        return Problem("license_expired", f"the term of license {license!r} has yet to begin")
    if refused.status == "too_many":
        text = f"at most {refused.why} seats of {license!r} can be free at once"
        hint = "offline licenses and a group's cap lower what can be had"
        return Problem("invalid", text, data={"field": "seats", "hint": hint})
    texts = {
        "conflict": "this id belongs to another acquire",
        "unknown_license": f"there is no license {license!r}",
        "license_expired": f"the license {license!r} has expired",
        "not_registered_user": f"the license {license!r} is for registered users",
    }
    return Problem(refused.status, texts[refused.status])


def renew_answer(renewals: list[Renewal], results: list[Result]) -> RenewAnswer:
    """What a batch found for these renewals."""
    renewed: list[bytes] = []
    lost: list[Lost] = []
    notices: list[object] = []
    ttl_ms = 0
    for renewal, result in zip(renewals, results, strict=True):
        if isinstance(result, str):
            lost.append(why_lost(renewal.lease_id, result))
            continue
        one_ttl_ms = result.ttl_ms if isinstance(result, Noticed) else result
        if isinstance(result, Noticed):
            notices.append(notice_to_wire(renewal.lease_id, result.notice))
        renewed.append(renewal.lease_id)
        if not 0 < ttl_ms <= one_ttl_ms:
            ttl_ms = one_ttl_ms
    return RenewAnswer(renewed, lost, ttl_ms, timing.renew_after_ms(ttl_ms), notices)


def renewed_wire(renewals: list[Renewal], results: list[Result]) -> dict[str, object] | None:
    """``renew_answer`` as it goes on the wire, at half its cost; None unless all were renewed."""
    ttl_ms = least_ttl_ms(results)
    if not ttl_ms:
        return None
    return {
        "renewed": [format_lease_id(renewal.lease_id) for renewal in renewals],
        "lost": [],
        "notices": [],
        "ttl": ttl_ms / 1000,
        "renew_after": timing.renew_after_ms(ttl_ms) / 1000,
    }


def least_ttl_ms(results: list[Result]) -> int:
    """The smallest ttl, where all were renewed and there is nothing more to say; else 0."""
    ttl_ms = results[0] if results else 0
    if isinstance(ttl_ms, int) and results.count(ttl_ms) == len(results):
        return ttl_ms  # nearly always: one license, and so one ttl
    ttls_ms = [result for result in results if isinstance(result, int)]
    return min(ttls_ms) if len(ttls_ms) == len(results) else 0


def why_lost(lease_id: bytes, why: str) -> Lost:
    """A lease that a renewal found gone."""
    reason, _, text = why.partition(" ")
    code = "not_found" if reason == UNKNOWN else "lease_ended"
    return Lost(lease_id, code, text or REASONS.get(reason, reason))


def notice_to_wire(lease_id: bytes, notice: dict[str, object]) -> dict[str, object]:
    """A notice as its holder reads it."""
    return {"lease": format_lease_id(lease_id), **notice}
