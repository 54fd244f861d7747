"""Two organizations with somebody of every role, and each of their keys."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from .calls import Caller

if TYPE_CHECKING:
    from .calls import Answer
    from .daemon import DaemonProcess

BOOTSTRAP = """
[[organization]]
slug = "acme"
name = "Acme Testing"
members = [
  { email = "olga@example.com", role = "owner" },
  { email = "adam@example.com", role = "admin" },
  { email = "mary@example.com", role = "member" },
  { email = "mick@example.com", role = "member" },
]
[[organization.license]]
name = "kre"
seats = 2
ttl = "30s"
[[organization.license]]
name = "studio"
kind = "named-user"
seats = 2
ttl = "30s"
[[organization.key]]
name = "owner"
member = "olga@example.com"
scopes = ["run", "read", "admin"]
secret_file = "owner.key"
[[organization.key]]
name = "admin"
member = "adam@example.com"
scopes = ["run", "read", "admin"]
secret_file = "admin.key"
[[organization.key]]
name = "member"
member = "mary@example.com"
scopes = ["run", "read", "admin"]
secret_file = "member.key"
[[organization.key]]
name = "colleague"
member = "mick@example.com"
scopes = ["run", "read"]
secret_file = "colleague.key"
[[organization.key]]
name = "run"
scopes = ["run"]
secret_file = "run.key"
[[organization.key]]
name = "read"
scopes = ["read"]
secret_file = "read.key"
[[organization.key]]
name = "service"
scopes = ["admin"]
secret_file = "service.key"

[[organization]]
slug = "other"
members = [{ email = "olga@example.com", role = "owner" }]
[[organization.license]]
name = "kre"
seats = 1
[[organization.key]]
name = "owner"
member = "olga@example.com"
scopes = ["run", "read", "admin"]
secret_file = "other.key"
"""

ROLES = ("operator", "owner", "admin", "member", "colleague", "run", "read", "service", "other")


class Acme:
    """Calls on the organization ``acme``, by who makes them."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.daemon = daemon
        self.callers = {role: daemon.caller(role) for role in ROLES}

    def caller(self, role: str = "owner") -> Caller:
        """Calls with the key of somebody in that role."""
        return self.callers[role]

    def get(self, path: str, role: str = "owner", **headers: str) -> Answer:
        """``GET /v1/orgs/acme…``."""
        return self.call("GET", path, role=role, **headers)

    def post(self, path: str, body: object = None, role: str = "owner", **headers: str) -> Answer:
        """``POST /v1/orgs/acme…``."""
        return self.call("POST", path, {} if body is None else body, role=role, **headers)

    def patch(self, path: str, body: object, role: str = "owner", **headers: str) -> Answer:
        """``PATCH /v1/orgs/acme…``."""
        return self.call("PATCH", path, body, role=role, **headers)

    def delete(self, path: str, role: str = "owner", **headers: str) -> Answer:
        """``DELETE /v1/orgs/acme…``."""
        return self.call("DELETE", path, role=role, **headers)

    def call(
        self, method: str, path: str, body: object = None, *, role: str = "owner", **headers: str
    ) -> Answer:
        """One call; a header's underscores are its hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.caller(role).call(method, f"/v1/orgs/acme{path}", body, headers=named)

    def license(self, name: str = "kre") -> dict[str, Any]:
        """A license as it is now."""
        found: dict[str, Any] = self.get(f"/licenses/{name}").body
        return found

    def held(self, role: str = "run", license: str = "kre", **fields: object) -> str:
        """The id of a new lease."""
        answer = self.caller(role).acquire(license, id=str(uuid.uuid4()), **fields)
        assert answer.status == 201, answer.body
        lease_id: str = answer.body["lease"]["id"]
        return lease_id

    def lost(self, lease_id: str, role: str = "run") -> dict[str, Any]:
        """What a renewal says of a lease that is lost."""
        (lost,) = self.caller(role).renew(lease_id).body["lost"]
        found: dict[str, Any] = lost
        return found

    def new_key(self, role: str = "owner", **fields: object) -> tuple[str, Caller]:
        """A new key's id, and calls with it."""
        body = {"name": f"key-{uuid.uuid4().hex[:8]}", "scopes": ["run", "read", "admin"]}
        made = self.post("/keys", {**body, **fields}, role)
        assert made.status == 201, made.body
        return made.body["id"], Caller(self.daemon.url, made.body["secret"])
