"""The acquire request of a client that found out who and where it is."""

from __future__ import annotations

import time

from lessor_protocol.errors import TRANSIENT, Problem
from lessor_protocol.fields import MAX_TEXT
from lessor_protocol.lease import ONE_TRY_LEAST_MS
from lessor_protocol.lease_id import new_lease_id
from lessor_protocol.message import MAX_LABELS
from lessor_protocol.messages import AcquireRequest, Process

from . import ci, machine
from .clock import now_ms
from .errors import NoAnswer, UsageError, from_code
from .text import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .server import Server

_ATTEMPT_MS = 10_000
_RETRY_SECONDS = 0.5


def make_request(
    environ: Mapping[str, str],
    *,
    license: str,
    pid: int,
    command: str,
    machine_id: str | None = None,
    ephemeral: bool | None = None,
    labels: Mapping[str, str] | None = None,
    seats: tuple[int, int] = (1, 1),
) -> AcquireRequest:
    """A request under a new lease id for the least to the most ``seats``.

    Given ``labels`` win over those of the CI system.
    """
    return AcquireRequest(
        new_lease_id(),
        license,
        machine.identify(environ, machine_id, ephemeral),
        Process(pid, clean(command, MAX_TEXT) or "?", machine.user_name()),
        labels=merge_labels(ci.labels(environ), labels or {}),
        seats=seats[0],
        most_seats=seats[1],
    )


def merge_labels(found: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Both, the given ones first: the server takes only so many."""
    if len(given) > MAX_LABELS:
        raise UsageError(f"at most {MAX_LABELS} labels are possible, not {len(given)}")
    merged = {**given, **{k: v for k, v in found.items() if k not in given}}
    return dict(list(merged.items())[:MAX_LABELS])


def default_license(
    server: Server, *, connect_timeout_ms: int, one_try: bool, named_by: str = "--license"
) -> str:
    """The only floating license of the organization.

    Raises ``LessorError``; ``named_by`` is how the caller can say which.
    """
    until_ms = now_ms() + connect_timeout_ms
    least_ms = ONE_TRY_LEAST_MS if one_try else 1
    while True:
        left_ms = max(least_ms, until_ms - now_ms())
        try:
            found = server.whoami(min(_ATTEMPT_MS, left_ms)).get("default_license")
            break
        except NoAnswer:
            if one_try or now_ms() >= until_ms:
                raise
        except Problem as problem:
            if problem.code not in TRANSIENT or one_try or now_ms() >= until_ms:
                raise from_code(problem.code, problem.detail) from None
        time.sleep(_RETRY_SECONDS)
    if not isinstance(found, str) or not found:
        raise UsageError(f"say which license: {named_by} or LESSOR_LICENSE")
    return found
