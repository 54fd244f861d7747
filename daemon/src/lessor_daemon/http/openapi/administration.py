"""Organizations, members, licenses, keys, machines, sessions, offline licenses and the audit.

Changes of one thing take ``If-Match`` with the ``ETag`` of what the caller saw. ``dry_run`` answers
what would happen and does nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .administration_schemas import EMAIL, KEY_ID, LICENSE_NAME, SLUG
from .shapes import (
    CURSOR,
    FLAG,
    MOMENT,
    NAME,
    PAGES,
    SECONDS,
    TEXT,
    UUID,
    call,
    page_of,
    parameter,
    ref,
)

if TYPE_CHECKING:
    from .shapes import (
        Schema,
    )

CSV = "text/csv"
JSON_LINES = "application/jsonl"

_ORG = parameter("org", "path", SLUG)
_IF_MATCH = parameter("If-Match", "header", TEXT, "change only what still has this ETag")
_DRY_RUN = parameter("dry_run", "query", FLAG, "only say what would happen")
_END_SESSIONS = parameter("end_sessions", "query", FLAG, "end its sessions; else they finish")
_SINCE = parameter("since", "query", MOMENT)
_UNTIL = parameter("until", "query", MOMENT)
_EXPORT = parameter(
    "format", "query", {"enum": ["json", "csv", "jsonl"]}, "instead of the Accept header"
)


def paths() -> Schema:
    """Path → method → operation."""
    return (
        _organizations()
        | _members()
        | _licenses()
        | _registered_users()
        | _keys()
        | _machines()
        | _sessions()
        | _offline()
        | _records()
    )


def _organizations() -> Schema:
    return {
        "/v1/orgs": {
            "get": call(
                "Organizations: the caller's own, all for the operator",
                {"200": ("a page", page_of("Organization"))},
                parameters=PAGES,
            ),
            "post": call(
                "Create an organization with its first owner (operator)",
                {"201": ("made", ref("OrganizationMade"))},
                body="NewOrganization",
            ),
        },
        "/v1/orgs/{org}": {
            "get": call(
                "The organization",
                {"200": ("it", ref("Organization"))},
                parameters=[_ORG],
                etag=True,
            ),
            "patch": call(
                "Change its name",
                {"200": ("changed", ref("Organization"))},
                body="OrganizationChange",
                parameters=[_ORG, _IF_MATCH],
                etag=True,
            ),
            "delete": call(
                "Remove an organization that holds no seats, with all it has (operator)",
                {"200": ("removed", ref("Removal"))},
                parameters=[_ORG, _DRY_RUN],
            ),
        },
    }


def _members() -> Schema:
    one = [_ORG, parameter("email", "path", EMAIL)]
    return {
        "/v1/orgs/{org}/members": {
            "get": call(
                "Members", {"200": ("a page", page_of("Member"))}, parameters=[_ORG, *PAGES]
            ),
            "post": call(
                "Add a member",
                {"201": ("added", ref("Member"))},
                body="NewMember",
                parameters=[_ORG],
                etag=True,
            ),
        },
        "/v1/orgs/{org}/members/{email}": {
            "get": call("A member", {"200": ("it", ref("Member"))}, parameters=one, etag=True),
            "patch": call(
                "Change the role; the last owner stays one",
                {"200": ("changed", ref("Member"))},
                body="MemberChange",
                parameters=[*one, _IF_MATCH],
                etag=True,
            ),
            "delete": call(
                "Remove a member: named-user sessions end, personal keys are revoked",
                {"200": ("removed", ref("Removal"))},
                parameters=[*one, _IF_MATCH, _DRY_RUN, _END_SESSIONS],
            ),
        },
    }


def _licenses() -> Schema:
    one = [_ORG, parameter("name", "path", LICENSE_NAME)]
    return {
        "/v1/orgs/{org}/licenses": {
            "get": call(
                "Licenses and what is free",
                {"200": ("a page", page_of("License"))},
                parameters=[_ORG, *PAGES],
            ),
            "post": call(
                "Add a license",
                {"201": ("added", ref("License"))},
                body="NewLicense",
                parameters=[_ORG],
                etag=True,
            ),
        },
        "/v1/orgs/{org}/licenses/{name}": {
            "get": call("A license", {"200": ("it", ref("License"))}, parameters=one, etag=True),
            "patch": call(
                "Change it; lowering below use is refused unless `force`",
                {"200": ("changed", ref("License"))},
                body="LicenseChange",
                parameters=[*one, _IF_MATCH],
                etag=True,
            ),
            "delete": call(
                "Remove a license that is not in use",
                {"200": ("removed", ref("Removal"))},
                parameters=[*one, _IF_MATCH, _DRY_RUN],
            ),
        },
        "/v1/orgs/{org}/licenses/{name}/queue": {
            "get": call(
                "Who waits for it, in order",
                {"200": ("a page", page_of("Waiter"))},
                parameters=[*one, *PAGES],
            ),
        },
        "/v1/orgs/{org}/licenses/{name}/policy/try": {
            "post": call(
                "Replay the last day's sessions under another policy or seat count",
                {"200": ("waits before and after", ref("Trial"))},
                body="NewTrial",
                parameters=one,
            ),
        },
    }


def _registered_users() -> Schema:
    license = [_ORG, parameter("name", "path", LICENSE_NAME)]
    one = [*license, parameter("email", "path", EMAIL)]
    users = "/v1/orgs/{org}/licenses/{name}/registered-users"
    return {
        users: {
            "get": call(
                "Registered users of a named-user license, and who is online where",
                {"200": ("a page", page_of("RegisteredUser"))},
                parameters=[*license, *PAGES],
            ),
            "post": call(
                "Assign the license to a member",
                {"201": ("assigned", ref("RegisteredUser"))},
                body="NewRegisteredUser",
                parameters=license,
            ),
        },
        users + "/{email}": {
            "delete": call(
                "Withdraw it: the online session ends at once",
                {"200": ("withdrawn", ref("Removal"))},
                parameters=[*one, _DRY_RUN],
            ),
        },
        users + "/{email}/transfer": {
            "post": call(
                "Withdraw it from one member and assign it to another in one step",
                {"200": ("assigned", ref("RegisteredUser"))},
                body="Transfer",
                parameters=one,
            ),
        },
    }


def _keys() -> Schema:
    one = [_ORG, parameter("id", "path", KEY_ID)]
    return {
        "/v1/orgs/{org}/keys": {
            "get": call(
                "API keys: a member sees their own",
                {"200": ("a page", page_of("Key"))},
                parameters=[_ORG, parameter("member", "query", EMAIL), *PAGES],
            ),
            "post": call(
                "Make a service key, or a personal one for `member`",
                {"201": ("made; the secret is shown this once", ref("KeyWithSecret"))},
                body="NewKey",
                parameters=[_ORG],
                etag=True,
            ),
        },
        "/v1/orgs/{org}/keys/{id}": {
            "get": call("A key", {"200": ("it", ref("Key"))}, parameters=one, etag=True),
            "patch": call(
                "Change scopes or expiry",
                {"200": ("changed", ref("Key"))},
                body="KeyChange",
                parameters=[*one, _IF_MATCH],
                etag=True,
            ),
            "delete": call(
                "Revoke a key; its sessions finish unless `end_sessions`",
                {"200": ("revoked", ref("Removal"))},
                parameters=[*one, _IF_MATCH, _DRY_RUN, _END_SESSIONS],
            ),
        },
        "/v1/orgs/{org}/keys/{id}/rotate": {
            "post": call(
                "Make a new secret; the old one stays valid for `overlap`. Without overlap no old "
                "secret does; with one, 409 `conflict` while that of an earlier rotation does",
                {"200": ("made; the secret is shown this once", ref("KeyWithSecret"))},
                body="KeyRotation",
                parameters=[*one, _IF_MATCH],
                etag=True,
            ),
        },
    }


def _machines() -> Schema:
    one = [_ORG, parameter("id", "path", NAME)]
    filters = [
        parameter("license", "query", LICENSE_NAME),
        parameter("ephemeral", "query", FLAG),
        parameter("idle", "query", FLAG, "without a session now"),
        parameter("unseen_for", "query", SECONDS),
    ]
    return {
        "/v1/orgs/{org}/machines": {
            "get": call(
                "Registered machines",
                {"200": ("a page", page_of("RegisteredMachine"))},
                parameters=[_ORG, *filters, *PAGES],
            ),
        },
        "/v1/orgs/{org}/machines/remove": {
            "post": call(
                "Remove all machines that a filter names; at least one filter is needed",
                {"200": ("removed", ref("MachinesRemoved"))},
                body="MachineFilter",
                parameters=[_ORG],
            ),
        },
        "/v1/orgs/{org}/machines/{id}": {
            "get": call("A machine", {"200": ("it", ref("RegisteredMachine"))}, parameters=one),
            "delete": call(
                "Remove a machine; its sessions end",
                {"200": ("removed", ref("MachinesRemoved"))},
                parameters=[*one, _DRY_RUN, parameter("license", "query", LICENSE_NAME)],
            ),
        },
    }


def _sessions() -> Schema:
    one = [_ORG, parameter("id", "path", UUID)]
    filters = [
        parameter("state", "query", {"enum": ["live", "past"]}, "default: live"),
        parameter("license", "query", LICENSE_NAME),
        parameter("user", "query", TEXT),
        parameter("machine", "query", TEXT),
        parameter("reason", "query", TEXT, "why it ended"),
        _SINCE,
        _UNTIL,
    ]
    return {
        "/v1/orgs/{org}/sessions": {
            "get": call(
                "Sessions, live or past; past ones newest first",
                {"200": ("a page", page_of("Session"))},
                parameters=[_ORG, *filters, _EXPORT, *PAGES],
                other_types=(CSV, JSON_LINES),
            ),
        },
        "/v1/orgs/{org}/sessions/{id}": {
            "get": call("A live session", {"200": ("it", ref("Session"))}, parameters=one),
        },
        "/v1/orgs/{org}/sessions/{id}/end": {
            "post": call(
                "End a session; the reason reaches the terminal it runs in",
                {"200": ("it is ending", ref("Session"))},
                body="SessionEnd",
                parameters=one,
            ),
        },
        "/v1/orgs/{org}/sessions/{id}/finish": {
            "post": call(
                "Ask a session to finish by itself: its `lessor run` is told with the next renewal",
                {"202": ("asked", ref("Session"))},
                body="SessionFinish",
                parameters=[_ORG, parameter("id", "path", UUID)],
            ),
        },
    }


def _offline() -> Schema:
    one = [_ORG, parameter("serial", "path", TEXT)]
    return {
        "/v1/orgs/{org}/offline": {
            "get": call(
                "Offline licenses",
                {"200": ("a page", page_of("OfflineLicense"))},
                parameters=[
                    _ORG,
                    parameter("license", "query", LICENSE_NAME),
                    parameter("machine", "query", TEXT),
                    *PAGES,
                ],
            ),
            "post": call(
                "Issue an offline license for a machine, or for a request file",
                {"201": ("issued", ref("OfflineIssued"))},
                body="OfflineIssue",
                parameters=[_ORG],
            ),
        },
        "/v1/orgs/{org}/offline/{serial}": {
            "get": call("One", {"200": ("it", ref("OfflineLicense"))}, parameters=one),
        },
        "/v1/orgs/{org}/offline/{serial}/return": {
            "post": call(
                "Give its seats back early, with the receipt of the machine that had it",
                {"200": ("returned, also before", ref("OfflineLicense"))},
                body="OfflineReturn",
                parameters=one,
            ),
        },
        "/v1/offline-keys": {
            "get": call(
                "Public keys that verify offline licenses",
                {"200": ("a page", page_of("SigningKey"))},
            ),
            "post": call(
                "Sign with a new key from now on (operator); older files stay valid",
                {"201": ("made", ref("SigningKey"))},
            ),
        },
    }


def _records() -> Schema:
    return {
        "/v1/orgs/{org}/audit": {
            "get": call(
                "Every change, newest first",
                {"200": ("a page", page_of("AuditEntry"))},
                parameters=[
                    _ORG,
                    parameter("action", "query", TEXT, "a name, or the beginning of one"),
                    parameter("actor", "query", TEXT),
                    parameter("target", "query", TEXT),
                    _SINCE,
                    _UNTIL,
                    _EXPORT,
                    *PAGES,
                ],
                other_types=(CSV, JSON_LINES),
            ),
        },
        "/v1/backup": {
            "get": call(
                "The directory of all organizations; a page of it where it is large (operator)",
                {"200": ("it", ref("Backup"))},
                parameters=[CURSOR],
            ),
        },
        "/v1/restore": {
            "post": call(
                "Put back the organizations of a backup whose slugs are free (operator)",
                {"200": ("restored", ref("Restored"))},
                body="Restore",
                parameters=[_DRY_RUN],
            ),
        },
    }
