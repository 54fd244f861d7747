"""With the longest texts that messages allow, every answer can still be read by our own client."""

from __future__ import annotations

import http.client
import json
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from lessor_protocol.codec import MAX_BYTES
from lessor_protocol.errors import Problem
from lessor_protocol.fields import MAX_NAME, MAX_TEXT
from lessor_protocol.message import MAX_LABEL_TEXT, MAX_LABELS
from lessor_protocol.queued import Queued, holders_of
from support.administration import BOOTSTRAP, Acme
from support.daemon import DaemonProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDE = "\U00010348"
"""Four bytes in UTF-8, and more than any other character takes."""
ACME = "/v1/orgs/acme"
SEATS = 60
TTL_SECONDS = 600
"""Nobody renews here, however long all of it takes."""
HEAVY: dict[str, Any] = {
    "process": {"pid": 2**31 - 1, "command": WIDE * MAX_TEXT},
    "labels": {f"{n:02}{WIDE * 62}": WIDE * MAX_LABEL_TEXT for n in range(MAX_LABELS)},
}
POLICY = [
    {"name": f"{n:02}{'g' * 62}", "label": {WIDE * 64: f"{n:02}{WIDE * 254}"}} for n in range(20)
]


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Acme]:
    """A daemon on which everything is as long as it may be."""
    directory = tmp_path_factory.mktemp("heavy")
    daemon = DaemonProcess(directory, "--max-ttl", f"{TTL_SECONDS}s", bootstrap=BOOTSTRAP)
    try:
        daemon.start()
        acme = Acme(daemon)
        settings = {"seats": SEATS, "machines": "unlimited", "policy": POLICY, "ttl": TTL_SECONDS}
        assert acme.patch("/licenses/kre", settings).status == 200
        for number in range(SEATS - 10):
            acme.held("member", machine=machine(number), **HEAVY)
        for number in range(10):
            island = {"license": "kre", "machine": machine(number)["id"], "duration": 3600}
            assert acme.post("/offline", island).status == 201
        for number in range(30):
            body = {"name": f"l{number}", "seats": 1, "machines": "unlimited", "policy": POLICY}
            assert acme.post("/licenses", body).status == 201
        yield acme
    finally:
        daemon.end()


def machine(number: int) -> dict[str, object]:
    return {"id": f"{number:04}{WIDE * (MAX_NAME - 4)}", "name": WIDE * MAX_NAME}


def weighed(acme: Acme, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Status and body, which must be one that our client would read."""
    parts = urlsplit(acme.daemon.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    headers = {
        "Authorization": f"Bearer {acme.caller('owner').key}",
        "Content-Type": "application/json",
    }
    connection.request(method, path, json.dumps(body) if body else None, headers)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    assert len(data) <= MAX_BYTES
    is_json = response.headers.get_content_subtype() in ("json", "problem+json")
    return response.status, json.loads(data) if is_json else data


def walk(acme: Acme, path: str, identity: str = "id") -> list[Any]:
    """What all pages show, the largest that may be asked for."""
    seen: list[Any] = []
    query = "limit=500"
    while True:
        status, page = weighed(acme, "GET", f"{path}{'&' if '?' in path else '?'}{query}")
        assert status == 200, page
        seen += [item[identity] for item in page["items"]]
        if "next" not in page:
            return seen
        query = f"limit=500&cursor={page['next']}"


def acquire(**fields: object) -> dict[str, object]:
    return {"id": str(uuid.uuid4()), "license": "kre", "machine": {"id": "m"}, **HEAVY, **fields}


def test_who_waits_or_is_refused_can_read_who_holds_the_seats(heavy: Acme) -> None:
    status, refused = weighed(heavy, "POST", "/v1/leases", acquire())
    assert (status, refused["code"]) == (409, "seats_exhausted")
    problem = Problem.from_wire(refused, status)
    holders = holders_of(problem)
    assert len(holders) >= 50
    assert holders[0].labels, "the first labels are there"
    status, place = weighed(heavy, "POST", "/v1/leases", acquire(wait=600))
    assert status == 202
    assert len(Queued.from_wire(place).holders) == len(holders)


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("/v1/leases", "id"),
        (f"{ACME}/sessions", "id"),
        (f"{ACME}/machines", "id"),
        (f"{ACME}/licenses", "name"),
        (f"{ACME}/audit", "id"),
        (f"{ACME}/licenses/kre/queue", "id"),
    ],
)
def test_each_page_can_be_read_and_all_of_them_show_each_item_once(
    heavy: Acme, path: str, identity: str
) -> None:
    for _ in range(25 if path.endswith("queue") else 0):
        assert weighed(heavy, "POST", "/v1/leases", acquire(wait=600))[0] == 202
    seen = walk(heavy, path, identity)
    assert len(seen) >= 25
    assert len(seen) == len(set(seen))


def test_exports_are_bounded_likewise(heavy: Acme) -> None:
    for kind in ("csv", "jsonl"):
        for path in ("sessions", "audit"):
            assert weighed(heavy, "GET", f"{ACME}/{path}?limit=500&format={kind}")[0] == 200


def test_past_sessions_are_bounded_likewise(make_heavy_past: Acme) -> None:
    seen = walk(make_heavy_past, f"{ACME}/sessions?state=past")
    assert len(seen) == len(set(seen)) == 30


@pytest.fixture
def make_heavy_past(acme: Acme) -> Acme:
    for number in range(30):
        acme.caller("run").release(acme.held(machine=machine(number % 2), **HEAVY))
    return acme


def test_of_very_many_machines_that_are_removed_not_all_are_named(acme: Acme) -> None:
    acme.patch("/licenses/kre", {"machines": "unlimited"})
    for number in range(520):
        acme.caller("run").release(acme.held(machine=machine(number)))
    status, removed = weighed(acme, "POST", f"{ACME}/machines/remove", {"idle": True})
    assert (status, removed["count"], len(removed["machines"])) == (200, 520, 500)
    assert acme.get("/machines").body["items"] == []
    entries = acme.get("/audit?action=machine.remove").body["items"]
    named = [one[1] for entry in entries for one in entry["before"]["machines"]]
    assert len(named) == len(set(named)) == 520
