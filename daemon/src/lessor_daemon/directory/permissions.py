"""Who may do what: the one table. HTTP asks it for every call, by the name of the route.

An operation needs one of its scopes (``admin`` implies all) and at least its rank. Some operations
look closer: an admin makes no owners, a member sees and ends only their own, and of what belongs to
a license a key for another one finds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem

from .callers import ADMIN, READ, RUN, Rank

if TYPE_CHECKING:
    from .callers import Caller


@dataclass(frozen=True, slots=True)
class Permission:
    """``by_operator``: the operator's key may; ``by_others``: keys of organizations may."""

    scopes: tuple[str, ...]
    least: Rank = Rank.MEMBER
    by_operator: bool = False
    by_others: bool = True


_HOLD = Permission((RUN,))
_LOOK = Permission((READ, RUN))
_READ = Permission((READ,))
_SURVEY = Permission((READ,), Rank.ADMIN)
_OWN = Permission((ADMIN,))
_ADMINISTER = Permission((ADMIN,), Rank.ADMIN)
_OPERATE = Permission((), by_operator=True, by_others=False)
_ANYBODY = Permission((READ, RUN), by_operator=True)

PERMISSIONS: dict[str, Permission] = {
    "acquire": _HOLD,
    "renew": _HOLD,
    "watch": _HOLD,
    "release": _HOLD,
    "stream": _HOLD,
    "lease": _LOOK,
    "leases": _LOOK,
    "whoami": _ANYBODY,
    "organizations": _ANYBODY,
    "create_organization": _OPERATE,
    "organization": _ANYBODY,
    "change_organization": _ADMINISTER,
    "remove_organization": _OPERATE,
    "members": _SURVEY,
    "add_member": _ADMINISTER,
    "member": _SURVEY,
    "change_member": _ADMINISTER,
    "remove_member": _ADMINISTER,
    "licenses": _LOOK,
    "add_license": _ADMINISTER,
    "license": _LOOK,
    "change_license": _ADMINISTER,
    "remove_license": _ADMINISTER,
    "queue": _LOOK,
    "try_policy": _SURVEY,
    "registered_users": _SURVEY,
    "assign_user": _ADMINISTER,
    "withdraw_user": _ADMINISTER,
    "transfer_user": _ADMINISTER,
    "keys": _READ,
    "make_key": _OWN,
    "key": _READ,
    "change_key": _OWN,
    "rotate_key": _OWN,
    "revoke_key": _OWN,
    "machines": _SURVEY,
    "machine": _SURVEY,
    "remove_machine": _ADMINISTER,
    "remove_machines": _ADMINISTER,
    "sessions": _READ,
    "session": _READ,
    "end_session": _HOLD,
    "finish_session": _HOLD,
    "offline_licenses": _SURVEY,
    "issue_offline": _ADMINISTER,
    "offline_license": _SURVEY,
    "return_offline": _ADMINISTER,
    "offline_keys": _ANYBODY,
    "rotate_offline_keys": _OPERATE,
    "audit": Permission((ADMIN,), Rank.ADMIN),
    "backup": _OPERATE,
    "restore": _OPERATE,
}


def check(caller: Caller, operation: str, org: str | None, license: str | None = None) -> None:
    """Raise ``Problem`` unless ``caller`` may do ``operation`` (in ``org``, if it is in one).

    ``license`` is the one that it is about by name, if it is.

    Another organization's existence is not confirmed: ``not_found``. The rest is ``forbidden``.
    """
    permission = PERMISSIONS[operation]
    if caller.org is None:
        if not permission.by_operator:
            raise Problem("forbidden", "the operator's key creates organizations and nothing else")
        return
    if org is not None and org != caller.org:
        raise Problem("not_found", "no such organization for this key")
    if not permission.by_others:
        raise Problem("forbidden", "only the operator's key may do that")
    caller.require(*permission.scopes)
    if caller.rank < permission.least:
        raise Problem("forbidden", f"that takes an {permission.least.name.lower()}")
    if license is not None:
        caller.require_license(license)
