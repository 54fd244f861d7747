"""Every path of administration: method, path, handler, and the name that permissions go by."""

from __future__ import annotations

from . import (
    audit,
    backup,
    keys,
    licenses,
    machines,
    members,
    offline,
    organizations,
    queue,
    sessions,
    trials,
)

_ORG = "/v1/orgs/{org}"
_MEMBER = _ORG + "/members/{email}"
_LICENSE = _ORG + "/licenses/{name}"
_USERS = _LICENSE + "/registered-users"
_KEY = _ORG + "/keys/{id}"
_MACHINE = _ORG + "/machines/{id}"
_SESSION = _ORG + "/sessions/{id}"
_OFFLINE = _ORG + "/offline/{serial}"

ROUTES = (
    ("GET", "/v1/whoami", organizations.whoami, "whoami"),
    ("GET", "/v1/orgs", organizations.organizations, "organizations"),
    ("POST", "/v1/orgs", organizations.create, "create_organization"),
    ("GET", _ORG, organizations.organization, "organization"),
    ("PATCH", _ORG, organizations.change, "change_organization"),
    ("DELETE", _ORG, organizations.remove, "remove_organization"),
    ("GET", _ORG + "/members", members.members, "members"),
    ("POST", _ORG + "/members", members.add, "add_member"),
    ("GET", _MEMBER, members.member, "member"),
    ("PATCH", _MEMBER, members.change, "change_member"),
    ("DELETE", _MEMBER, members.remove, "remove_member"),
    ("GET", _ORG + "/licenses", licenses.licenses, "licenses"),
    ("POST", _ORG + "/licenses", licenses.add, "add_license"),
    ("GET", _LICENSE, licenses.license, "license"),
    ("PATCH", _LICENSE, licenses.change, "change_license"),
    ("DELETE", _LICENSE, licenses.remove, "remove_license"),
    ("GET", _LICENSE + "/queue", queue.queue, "queue"),
    ("POST", _LICENSE + "/policy/try", trials.try_policy, "try_policy"),
    ("GET", _USERS, members.registered_users, "registered_users"),
    ("POST", _USERS, members.assign, "assign_user"),
    ("DELETE", _USERS + "/{email}", members.withdraw, "withdraw_user"),
    ("POST", _USERS + "/{email}/transfer", members.transfer, "transfer_user"),
    ("GET", _ORG + "/keys", keys.keys, "keys"),
    ("POST", _ORG + "/keys", keys.make, "make_key"),
    ("GET", _KEY, keys.key, "key"),
    ("PATCH", _KEY, keys.change, "change_key"),
    ("DELETE", _KEY, keys.revoke, "revoke_key"),
    ("POST", _KEY + "/rotate", keys.rotate, "rotate_key"),
    ("GET", _ORG + "/machines", machines.machines, "machines"),
    ("POST", _ORG + "/machines/remove", machines.remove_many, "remove_machines"),
    ("GET", _MACHINE, machines.machine, "machine"),
    ("DELETE", _MACHINE, machines.remove, "remove_machine"),
    ("GET", _ORG + "/sessions", sessions.sessions, "sessions"),
    ("GET", _SESSION, sessions.session, "session"),
    ("POST", _SESSION + "/end", sessions.end, "end_session"),
    ("POST", _SESSION + "/finish", sessions.finish, "finish_session"),
    ("GET", _ORG + "/offline", offline.licenses, "offline_licenses"),
    ("POST", _ORG + "/offline", offline.issue, "issue_offline"),
    ("GET", _OFFLINE, offline.license, "offline_license"),
    ("POST", _OFFLINE + "/return", offline.give_back, "return_offline"),
    ("GET", "/v1/offline-keys", offline.signing_keys, "offline_keys"),
    ("POST", "/v1/offline-keys", offline.rotate_signing_keys, "rotate_offline_keys"),
    ("GET", _ORG + "/audit", audit.audit, "audit"),
    ("GET", "/v1/backup", backup.backup, "backup"),
    ("POST", "/v1/restore", backup.restore, "restore"),
)
