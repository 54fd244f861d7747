"""What Lessor itself says: is its store there, what may the key do, is there a license."""

from __future__ import annotations

import json

from lessor_protocol.errors import Problem

from lessor.admin import times
from lessor.admin.api import Api
from lessor.clock import now_ms
from lessor.errors import LessorError, NoAnswer
from lessor.text import clean

from .findings import denied, ok, unreachable, warning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from lessor.config import ClientConfig
    from lessor.transport import Link

    from .findings import Finding

    Item = dict[str, object]

_PATIENCE_MS = 5_000
_KEY_ADVICE = {
    "unauthenticated": "check LESSOR_API_KEY_FILE or LESSOR_API_KEY",
    "revoked": "ask an admin for a new key",
    "forbidden": "ask an admin for a key with the scope run",
    "rate_limited": "too many wrong keys came from here: wait a little, and correct them",
}


def readiness(link: Link) -> Finding:
    """Whether the server can grant seats now."""
    try:
        response = link.request("GET", "/readyz", [], b"", now_ms() + _PATIENCE_MS)
        found = json.loads(response.body)
    except (NoAnswer, ValueError) as error:
        return unreachable("store", f"readiness is not told: {error}", "ask the operator")
    if response.status == 404:
        return ok("store", "readiness is told on another port")
    if response.status != 200:
        detail = found.get("detail") if isinstance(found, dict) else None
        return unreachable(
            "store", clean(str(detail or response.status)), "ask the operator of the server"
        )
    if isinstance(found, dict) and found.get("recovering"):
        return warning(
            "store",
            "the server is recovering: running sessions go on, new ones start in a minute or so",
            "wait",
        )
    return ok("store", "the server is ready to grant seats")


def key_and_license(config: ClientConfig) -> Iterator[Finding]:
    """What the key is, and whether the license that a run would use is there."""
    api = Api(config)
    try:
        me = api.whoami()
        yield _key(me)
        if isinstance(me.get("organization"), str):
            yield _license(api, config.license or me.get("default_license"))
    except Problem as problem:
        yield denied("key", clean(problem.detail), _KEY_ADVICE.get(problem.code, ""))
    except LessorError as error:
        yield unreachable("key", str(error), "")
    finally:
        api.close()


def _key(me: Item) -> Finding:
    key = me.get("key")
    fields: Item = key if isinstance(key, dict) else {}
    organization = me.get("organization")
    name = clean(str(fields.get("name")))
    if not isinstance(organization, str):
        return warning(
            "key",
            f"{name} is an operator's key",
            "it creates organizations and cannot run anything: use a key of an organization",
        )
    scopes = fields.get("scopes")
    may = [str(one) for one in scopes] if isinstance(scopes, list) else []
    text = f"{name} of {clean(organization)}, for {', '.join(may) or 'nothing'}"
    if "run" not in may and "admin" not in may:
        return warning("key", text, "lessor run needs a key with the scope run")
    return ok("key", text)


def _license(api: Api, wanted: object) -> Finding:
    items = list(api.items(f"{api.org}/licenses"))
    names = [str(item.get("name")) for item in items]
    if not wanted:
        return warning(
            "license",
            f"none is named, and there is not exactly one floating license ({', '.join(names)})",
            "say which: LESSOR_LICENSE or --license",
        )
    found = next((item for item in items if item.get("name") == wanted), None)
    if found is None:
        return denied(
            "license",
            f"there is no license {clean(str(wanted))!r}; there are {', '.join(names) or 'none'}",
            "check LESSOR_LICENSE",
        )
    free, seats = found.get("available"), found.get("seats")
    text = f"{wanted}: {free} of {seats} seats are free"
    days = found.get("expires_in_days")
    if isinstance(days, int):
        text += f", expires {times.shown(found.get('expires'))}"
        if days <= 0:
            return warning("license", text, "ask an admin to renew it")
    return ok("license", text)
