"""Every call by every role in the own and another organization, held to the table below.

The calls name things that do not exist and send bodies that lack everything, so that whoever is let
in is told ``invalid`` or ``not_found``, and nothing changes.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from lessor_daemon.directory.permissions import PERMISSIONS
from lessor_daemon.http import routes
from support.administration import ROLES

if TYPE_CHECKING:
    from support.administration import Acme
    from support.calls import Answer

HOLD = {"owner", "admin", "member", "colleague", "run", "service"}
LOOK = {"owner", "admin", "member", "colleague", "run", "read", "service"}
READ = {"owner", "admin", "member", "colleague", "read", "service"}
SURVEY = {"owner", "admin", "read", "service"}
ADMINISTER = {"owner", "admin", "service"}
OWN = {"owner", "admin", "member", "service"}
OPERATE = {"operator"}
ANYBODY = LOOK | OPERATE

MAY = {
    "acquire": HOLD,
    "renew": HOLD,
    "watch": HOLD,
    "release": HOLD,
    "stream": HOLD,
    "lease": LOOK,
    "leases": LOOK,
    "whoami": ANYBODY,
    "organizations": ANYBODY,
    "create_organization": OPERATE,
    "organization": ANYBODY,
    "change_organization": ADMINISTER,
    "remove_organization": OPERATE,
    "members": SURVEY,
    "add_member": ADMINISTER,
    "member": SURVEY,
    "change_member": ADMINISTER,
    "remove_member": ADMINISTER,
    "licenses": LOOK,
    "add_license": ADMINISTER,
    "license": LOOK,
    "change_license": ADMINISTER,
    "remove_license": ADMINISTER,
    "queue": LOOK,
    "try_policy": SURVEY,
    "registered_users": SURVEY,
    "assign_user": ADMINISTER,
    "withdraw_user": ADMINISTER,
    "transfer_user": ADMINISTER,
    "keys": READ,
    "make_key": OWN,
    "key": READ,
    "change_key": OWN,
    "rotate_key": OWN,
    "revoke_key": OWN,
    "machines": SURVEY,
    "machine": SURVEY,
    "remove_machine": ADMINISTER,
    "remove_machines": ADMINISTER,
    "sessions": READ,
    "session": READ,
    "end_session": HOLD,
    "finish_session": HOLD,
    "offline_licenses": SURVEY,
    "issue_offline": ADMINISTER,
    "offline_license": SURVEY,
    "return_offline": ADMINISTER,
    "offline_keys": ANYBODY,
    "rotate_offline_keys": OPERATE,
    "audit": ADMINISTER,
    "backup": OPERATE,
    "restore": OPERATE,
}

NOWHERE = {
    "id": str(uuid.UUID(int=7)),
    "name": "nothing",
    "email": "nobody@example.com",
    "serial": "nothing",
}
CHANGES_SOMETHING = {"rotate_offline_keys", "change_organization"}


def by_name(name: str) -> routes.Route:
    """The route."""
    return next(route for route in routes.API if route.name == name)


def call(acme: Acme, route: routes.Route, role: str, org: str) -> Answer:
    """Make the call in a way that changes nothing."""
    path = route.path.format(org=org, **NOWHERE)
    if route.method == "DELETE":
        path += "?dry_run=true"
    body: list[object] | None = [] if route.method in ("POST", "PATCH") else None
    return acme.caller(role).call(route.method, path, body)


def is_let_in(answer: Answer) -> bool:
    """Whether the caller was found to be allowed."""
    return answer.code not in ("forbidden", "unauthenticated", "revoked")


def test_the_table_names_every_route_and_no_other() -> None:
    assert {route.name for route in routes.API} <= set(MAY)
    assert set(MAY) == set(PERMISSIONS)


@pytest.mark.parametrize("role", ROLES[:-1])
@pytest.mark.parametrize("name", sorted({route.name for route in routes.API} - CHANGES_SOMETHING))
def test_each_role_may_do_what_the_table_says_in_its_own_organization(
    shared_acme: Acme, name: str, role: str
) -> None:
    answer = call(shared_acme, by_name(name), role, "acme")
    assert is_let_in(answer) == (role in MAY[name]), answer.body
    if role not in MAY[name]:
        assert answer.status == 403


@pytest.mark.parametrize(
    "name", sorted(route.name for route in routes.API if "{org}" in route.path)
)
def test_nobody_finds_out_about_another_organization(shared_acme: Acme, name: str) -> None:
    for role in ROLES[1:-1]:
        for org in ("other", "nowhere"):
            answer = call(shared_acme, by_name(name), role, org)
            assert (answer.status, answer.code) == (404, "not_found"), (role, org)
            assert answer.body["detail"] == "no such organization for this key"


@pytest.mark.parametrize("name", sorted({route.name for route in routes.API}))
def test_nothing_is_served_without_a_key(shared_acme: Acme, name: str) -> None:
    route = by_name(name)
    path = route.path.format(org="acme", **NOWHERE)
    # A renewal could also be proven by its certificate.
    body = {"leases": [NOWHERE["id"]]} if name in ("renew", "watch") else None
    answer = shared_acme.daemon.anonymous().call(route.method, path, body)
    assert (answer.status, answer.code) == (401, "unauthenticated")


def test_the_operator_and_admins_may_also_do_what_changes_something(acme: Acme) -> None:
    for role in ROLES[:-1]:
        answer = acme.patch("", {"name": "Acme"}, role)
        assert is_let_in(answer) == (role in MAY["change_organization"])
        answer = acme.caller(role).call("POST", "/v1/offline-keys")
        assert is_let_in(answer) == (role in MAY["rotate_offline_keys"])
