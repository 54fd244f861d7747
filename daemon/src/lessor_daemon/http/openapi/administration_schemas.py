"""Organizations and all they hold: what goes in and what comes out.

Fields of a ``New…`` or ``…Change`` body that are not named here are ignored, and never copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol.fields import MAX_NAME

from lessor_daemon import values
from lessor_daemon.directory.licenses import REMIND_DAYS
from lessor_daemon.directory.policy import LONGEST_HEAD_START_SECONDS, MOST_GROUPS

from .shapes import (
    COUNT,
    FLAG,
    LABELS,
    MOMENT,
    NAME,
    POSITIVE,
    SECONDS,
    TEXT,
    UUID,
    body_of,
    list_of,
    object_of,
    ref,
)

if TYPE_CHECKING:
    from .shapes import (
        Schema,
    )

SLUG: Schema = {"type": "string", "pattern": f"^{values.SLUG}$"}
LICENSE_NAME: Schema = {"type": "string", "pattern": f"^{values.LICENSE_NAME}$"}
EMAIL: Schema = {"type": "string", "pattern": f"^{values.EMAIL}$"}
PLAIN: Schema = {"type": "string", "format": "plain-text", "minLength": 1, "maxLength": MAX_NAME}
REASON: Schema = {"type": "string", "format": "plain-text", "maxLength": values.MAX_REASON}
ARMOURED: Schema = {"type": "string", "maxLength": values.MAX_ARMOURED}
KEY_ID: Schema = {"type": "string", "pattern": "^[A-Za-z0-9]{1,64}$"}
ROLE: Schema = {"enum": list(values.ROLES)}
KIND: Schema = {"enum": list(values.KINDS)}
SCOPES: Schema = list_of({"enum": list(values.SCOPES)}) | {"minItems": 1, "uniqueItems": True}
SEATS: Schema = {"type": "integer", "minimum": 0, "maximum": values.MOST_SEATS}
MACHINE_QUOTA: Schema = {"oneOf": [SEATS, {"const": "unlimited"}]}
MAYBE_MOMENT: Schema = {"type": ["string", "null"], "format": "date-time"}
MAYBE_NAME: Schema = {"type": ["string", "null"], "pattern": f"^{values.LICENSE_NAME}$"}
IDLE_TIMEOUT: Schema = {
    "oneOf": [
        {
            "type": "number",
            "minimum": values.IDLE_TIMEOUT_SECONDS[0],
            "maximum": values.IDLE_TIMEOUT_SECONDS[1],
        },
        {"type": "null"},
    ],
    "description": "seconds without use after which a registered user's session ends; null: never",
}
RETENTION: Schema = {
    "oneOf": [
        {"type": "number", "minimum": 0, "maximum": values.LONGEST_RETENTION_SECONDS},
        {"type": "null"},
    ],
    "description": "seconds a machine stays registered after its last session; null: until removed",
}


def schemas() -> Schema:
    """Name → schema."""
    return _organizations() | _licenses() | _keys() | _sessions() | _offline() | _records()


def _organizations() -> Schema:
    return {
        "Organization": object_of({"slug": SLUG, "name": NAME}, ["slug", "name"]),
        "NewOrganization": body_of(
            {"slug": SLUG, "name": PLAIN, "owner": object_of({"email": EMAIL}, ["email"])},
            ["slug", "owner"],
        ),
        "OrganizationChange": body_of({"name": PLAIN}, ["name"]),
        "OrganizationMade": object_of(
            {"organization": ref("Organization"), "key": ref("KeyWithSecret")},
            ["organization", "key"],
        ),
        "Member": object_of({"email": EMAIL, "role": ROLE, "since": MOMENT}, ["email", "role"]),
        "NewMember": body_of({"email": EMAIL, "role": ROLE}, ["email"]),
        "MemberChange": body_of({"role": ROLE}, ["role"]),
        "RegisteredUser": object_of(
            {
                "email": EMAIL,
                "since": MOMENT,
                "online": object_of({"session": UUID, "machine": TEXT, "since": MOMENT}, []),
            },
            ["email", "since"],
        ),
        "NewRegisteredUser": body_of({"email": EMAIL}, ["email"]),
        "Transfer": body_of({"to": EMAIL}, ["to"]),
    }


def _licenses() -> Schema:
    settings = {
        "product": PLAIN,
        "seats": SEATS,
        "machines": MACHINE_QUOTA,
        "ttl": {"type": "number", "exclusiveMinimum": 0, "maximum": 600},
        "starts": MAYBE_MOMENT,
        "expires": MAYBE_MOMENT,
        "offline_allowed": FLAG,
        "machine_retention": RETENTION,
        "policy": {**list_of(ref("NewGroup"), MOST_GROUPS), "description": "see docs/policy.md"},
        "drained": {**FLAG, "description": "nobody new; the running finish"},
        "idle_timeout": IDLE_TIMEOUT,
    }
    return {
        "License": object_of(
            {
                "name": LICENSE_NAME,
                "kind": KIND,
                "product": TEXT,
                "seats": COUNT,
                "offline_seats": COUNT,
                "leases": COUNT,
                "available": COUNT,
                "machines": COUNT,
                "machine_quota": {"oneOf": [COUNT, {"const": "unlimited"}]},
                "registered_users": COUNT,
                "queue_length": COUNT,
                "ttl": SECONDS,
                "starts": MOMENT,
                "expires": MOMENT,
                "expires_in_days": COUNT,
                "reminder": {
                    "enum": [*REMIND_DAYS, 0],
                    "description": "the term ends within so many days; 0: it has ended",
                },
                "offline_allowed": FLAG,
                "machine_retention": SECONDS,
                "policy": list_of(ref("Group")),
                "drained": FLAG,
                "idle_timeout": SECONDS,
            },
            ["name", "kind", "seats", "available", "machine_quota"],
        ),
        "NewLicense": body_of({"name": LICENSE_NAME, "kind": KIND, **settings}, ["name", "seats"]),
        "LicenseChange": body_of({**settings, "force": FLAG}, []),
        **_policy(),
    }


def _policy() -> Schema:
    group_name = {"type": "string", "pattern": f"^{values.GROUP_NAME}$"}
    label = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "propertyNames": {"minLength": 1, "maxLength": 64},
        "additionalProperties": {"type": "string", "maxLength": 256},
    }
    head_start = {"type": "number", "minimum": 0, "maximum": LONGEST_HEAD_START_SECONDS}
    spread = {"sessions": COUNT, "p50": SECONDS, "p95": SECONDS, "most": SECONDS}
    cap = {"type": "integer", "minimum": 1, "maximum": values.MOST_SEATS}
    return {
        "Group": object_of(
            {
                "name": TEXT,
                "label": LABELS,
                "head_start": SECONDS,
                "reserve": COUNT,
                "cap": {"type": ["integer", "null"]},
            },
            ["name", "label", "head_start", "reserve", "cap"],
        ),
        "Waiter": object_of(
            {
                "position": COUNT,
                "user": TEXT,
                "machine": TEXT,
                "command": TEXT,
                "labels": LABELS,
                "since": MOMENT,
                "seats": COUNT,
                "most_seats": COUNT,
                "group": TEXT,
                "is_own": FLAG,
                "id": UUID,
                "estimate": {"oneOf": [ref("Estimate"), {"type": "null"}]},
            },
            ["position", "user", "machine", "labels", "since", "seats", "is_own"],
        ),
        "NewTrial": body_of({"policy": list_of(ref("NewGroup"), MOST_GROUPS), "seats": SEATS}, []),
        "Trial": object_of(
            {
                "license": LICENSE_NAME,
                "since": MOMENT,
                "is_whole": FLAG,
                "seats": COUNT,
                "tried_seats": COUNT,
                "recorded": ref("Waits"),
                "replayed": ref("Waits"),
                "tried": ref("Waits"),
            },
            ["license", "since", "is_whole", "recorded", "replayed", "tried"],
        ),
        "Waits": object_of(
            {
                **spread,
                "never": COUNT,
                "groups": list_of(object_of({"name": TEXT, **spread}, ["name", *spread])),
            },
            [*spread, "never", "groups"],
        ),
        "NewGroup": body_of(
            {
                "name": group_name,
                "label": label,
                "head_start": head_start,
                "reserve": SEATS,
                "cap": cap,
            },
            ["name", "label"],
        ),
    }


def _keys() -> Schema:
    shown = {
        "id": KEY_ID,
        "name": NAME,
        "scopes": SCOPES,
        "member": EMAIL,
        "license": LICENSE_NAME,
        "state": {"enum": ["active", "expired", "finishing", "revoked"]},
        "created": MOMENT,
        "expires": MOMENT,
        "last_used": MOMENT,
        "old_secret_until": MOMENT,
    }
    secret = {"secret": {"type": "string", "description": "the whole key; shown this once"}}
    required = ["id", "name", "scopes", "state"]
    return {
        "Key": object_of(shown, required),
        "KeyWithSecret": object_of({**shown, **secret}, [*required, "secret"]),
        "NewKey": body_of(
            {
                "name": PLAIN,
                "scopes": SCOPES,
                "member": {"type": ["string", "null"], "pattern": f"^{values.EMAIL}$"},
                "license": MAYBE_NAME,
                "expires": MAYBE_MOMENT,
            },
            ["name"],
        ),
        "KeyChange": body_of({"expires": MAYBE_MOMENT, "scopes": SCOPES}, []),
        "KeyRotation": body_of(
            {
                "overlap": {
                    "type": "number",
                    "minimum": 0,
                    "maximum": values.LONGEST_OVERLAP_SECONDS,
                }
            },
            [],
        ),
    }


def _sessions() -> Schema:
    return {
        "RegisteredMachine": object_of(
            {
                "id": NAME,
                "name": TEXT,
                "licenses": list_of(LICENSE_NAME),
                "ephemeral": FLAG,
                "first_seen": MOMENT,
                "last_seen": MOMENT,
                "sessions": COUNT,
                "lapses": MOMENT,
            },
            ["id", "licenses", "ephemeral", "sessions"],
        ),
        "MachineFilter": body_of(
            {
                "ids": list_of(PLAIN, values.MOST_AT_ONCE),
                "license": LICENSE_NAME,
                "ephemeral": FLAG,
                "idle": FLAG,
                "unseen_for": SECONDS,
                "dry_run": FLAG,
                "reason": REASON,
            },
            [],
        ),
        "MachinesRemoved": object_of(
            {
                "machines": {**list_of(NAME), "description": "the first 500 of them"},
                "count": {**COUNT, "description": "all of them"},
                "sessions_ended": COUNT,
                "dry_run": FLAG,
            },
            ["machines", "count", "sessions_ended", "dry_run"],
        ),
        "Session": object_of(
            {
                "id": UUID,
                "license": LICENSE_NAME,
                "state": {"enum": ["live", "ending", "ended"]},
                "user": TEXT,
                "member": TEXT,
                "key": TEXT,
                "machine": ref("Machine"),
                "process": ref("Process"),
                "labels": LABELS,
                "started": MOMENT,
                "seats": COUNT,
                "waited": SECONDS,
                "ended": MOMENT,
                "duration": SECONDS,
                "reason": TEXT,
                "text": TEXT,
            },
            ["id", "license", "state", "started"],
        ),
        "SessionEnd": body_of({"reason": REASON}, []),
        "SessionFinish": body_of({"text": REASON}, []),
    }


def _offline() -> Schema:
    return {
        "OfflineLicense": object_of(
            {
                "serial": TEXT,
                "license": LICENSE_NAME,
                "machine": NAME,
                "seats": COUNT,
                "state": {"enum": ["valid", "expired", "returned"]},
                "issued": MOMENT,
                "issued_by": TEXT,
                "expires": MOMENT,
                "returned": MOMENT,
                "signing_key": TEXT,
            },
            ["serial", "license", "machine", "seats", "state", "issued", "expires"],
        ),
        "OfflineIssue": body_of(
            {
                "license": LICENSE_NAME,
                "machine": PLAIN,
                "seats": {"type": "integer", "minimum": 1, "maximum": values.MOST_SEATS},
                "expires": MOMENT,
                "duration": {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "maximum": values.LONGEST_OFFLINE_SECONDS,
                },
                "request": ARMOURED | {"description": "the text of a request file"},
            },
            [],
        ),
        "OfflineIssued": object_of(
            {"offline": ref("OfflineLicense"), "file": TEXT}, ["offline", "file"]
        ),
        "OfflineReturn": body_of({"receipt": ARMOURED}, ["receipt"]),
        "SigningKey": object_of(
            {"id": TEXT, "public_key": TEXT, "created": MOMENT, "signs": FLAG},
            ["id", "public_key", "signs"],
        ),
    }


def _records() -> Schema:
    return {
        "AuditEntry": object_of(
            {
                "id": TEXT,
                "at": MOMENT,
                "action": TEXT,
                "target": TEXT,
                "actor": object_of({"key": TEXT, "name": TEXT, "member": TEXT}, ["name"]),
                "source": TEXT,
                "request": TEXT,
                "before": {},
                "after": {},
            },
            ["id", "at", "action", "target", "actor"],
        ),
        "Backup": object_of(
            {
                "version": {"type": "integer"},
                "made": MOMENT,
                "organizations": list_of(
                    object_of(
                        {
                            "slug": SLUG,
                            "name": NAME,
                            "part": COUNT,
                            "parts": COUNT,
                            "members": COUNT,
                            "licenses": COUNT,
                            "keys": COUNT,
                            "data": TEXT,
                        },
                        ["slug", "data"],
                    )
                ),
                "next": TEXT,
            },
            ["version", "organizations"],
        ),
        "Restore": body_of(
            {
                "version": {"const": 1},
                "organizations": list_of(
                    object_of({"data": TEXT, "part": POSITIVE, "parts": POSITIVE}, ["data"]), 1_000
                ),
            },
            ["version", "organizations"],
        ),
        "Restored": object_of(
            {"organizations": list_of(SLUG), "dry_run": FLAG}, ["organizations", "dry_run"]
        ),
        "Removal": object_of(
            {"removed": TEXT, "dry_run": FLAG, "sessions_ended": COUNT, "keys_revoked": COUNT},
            ["removed", "dry_run"],
        ),
    }
