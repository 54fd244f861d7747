"""Every list, page by page: each item is seen exactly once, whatever names sort like."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from support.administration import BOOTSTRAP, Acme
from support.daemon import DaemonProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

TTL_SECONDS = 600
"""Nobody renews here, however long all of it takes."""
ODD_NAMES = ("a", "A", "a b", "a Z", "a z", "a z z", "a!", "a-b", "ä", "ab", "B", "z", "\U0001f600")
ODD_LICENSES = ("a", "A", "a-b", "a.b", "a_b", "ab", "B", "0")
ODD_MEMBERS = (
    "a@x.example",
    "A.B@x.example",
    "a+b@x.example",
    "ab@x.example",
    "z@x.example",
    "z-z@x.example",
    "0@x.example",
)
ACME = "/v1/orgs/acme"
LISTS = {
    "organizations": ("/v1/orgs", "slug"),
    "members": (f"{ACME}/members", "email"),
    "licenses": (f"{ACME}/licenses", "name"),
    "registered users": (f"{ACME}/licenses/named/registered-users", "email"),
    "keys": (f"{ACME}/keys", "id"),
    "keys of a member": (f"{ACME}/keys?member=olga@example.com", "id"),
    "machines": (f"{ACME}/machines", "id"),
    "live sessions": (f"{ACME}/sessions", "id"),
    "past sessions": (f"{ACME}/sessions?state=past", "id"),
    "offline licenses": (f"{ACME}/offline", "serial"),
    "audit": (f"{ACME}/audit", "id"),
    "queue": (f"{ACME}/licenses/one/queue", "id"),
    "leases": ("/v1/leases", "id"),
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Acme]:
    """A daemon whose lists hold what sorts oddly."""
    directory = tmp_path_factory.mktemp("paging")
    daemon = DaemonProcess(directory, "--max-ttl", f"{TTL_SECONDS}s", bootstrap=BOOTSTRAP)
    try:
        daemon.start()
        acme = Acme(daemon)
        _fill_directory(acme)
        _fill_licenses(acme)
        yield acme
    finally:
        daemon.end()


def _fill_directory(acme: Acme) -> None:
    operator = acme.caller("operator")
    for slug in ("a", "a-b", "ab", "0", "z-z"):
        body = {"slug": slug, "owner": {"email": "olga@example.com"}}
        assert operator.call("POST", "/v1/orgs", body).status == 201
    many = {"seats": 100, "machines": "unlimited", "ttl": TTL_SECONDS}
    for name in ODD_LICENSES:
        assert acme.post("/licenses", {"name": name, **many}).status == 201
    assert acme.post("/licenses", {"name": "one", "seats": 1, "ttl": TTL_SECONDS}).status == 201
    named = {"name": "named", "kind": "named-user", "seats": 100}
    assert acme.post("/licenses", named).status == 201
    for email in ODD_MEMBERS:
        assert acme.post("/members", {"email": email}).status == 201
        assert acme.post("/licenses/named/registered-users", {"email": email}).status == 201
    for name in ODD_NAMES:
        for member in (None, "olga@example.com", "mick@example.com"):
            acme.new_key(name=name, **({"member": member} if member else {}))


def _fill_licenses(acme: Acme) -> None:
    for number, name in enumerate(ODD_NAMES):
        license = ODD_LICENSES[number % len(ODD_LICENSES)]
        acme.held(license=license, machine={"id": name})
        acme.caller("run").release(acme.held(license=license, machine={"id": name}))
        wanted = {"license": "a", "machine": name, "duration": 3600}
        assert acme.post("/offline", wanted).status == 201
    acme.held(license="one")
    for name in ODD_NAMES:
        waits = acme.caller("run").acquire("one", machine={"id": name}, wait=600)
        assert waits.status == 202


@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize("name", sorted(LISTS))
def test_each_item_is_seen_exactly_once_on_the_pages_of(odd: Acme, name: str, limit: int) -> None:
    path, identity = LISTS[name]
    caller = odd.caller("operator" if name == "organizations" else "owner")
    path += "&" if "?" in path else "?"
    whole = caller.call("GET", f"{path}limit=500").body
    assert "next" not in whole
    expected = [item[identity] for item in whole["items"]]
    assert len(set(expected)) == len(expected) > 2 * limit
    seen: list[Any] = []
    query = f"limit={limit}"
    while True:
        page = caller.call("GET", path + query).body
        seen += [item[identity] for item in page["items"]]
        if "next" not in page:
            break
        query = f"limit={limit}&cursor={page['next']}"
    if name in ("live sessions", "leases"):  # in the order that the store has them
        seen, expected = sorted(seen), sorted(expected)
    assert seen == expected


@pytest.mark.parametrize(
    "mark",
    [
        "",
        "x",
        "-1",
        "0-0",
        f"{2**64}-0",
        f"1-{2**64}",
        "9" * 20,
        "9" * 21,
        "\udcff",
        "acme:1",
        "1-1-1",
    ],
)
@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_cursor_that_is_none_is_refused_or_shows_a_page(odd: Acme, name: str, mark: str) -> None:
    """Not all can be told from true ones: those of names are names."""
    path, _ = LISTS[name]
    caller = odd.caller("operator" if name == "organizations" else "owner")
    cursors = [mark] if mark.isascii() else []
    cursors.append(urlsafe_b64encode(mark.encode(errors="surrogateescape")).decode().rstrip("="))
    for cursor in cursors:
        query = urlencode({"cursor": cursor})
        answer = caller.call("GET", f"{path}{'&' if '?' in path else '?'}{query}")
        assert answer.status == 200 or answer.body["field"] == "cursor"
