"""The HTTP surface of a real daemon, seen from outside."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING

import msgpack
import pytest
from lessor_daemon.http import routes
from lessor_daemon.http.openapi import document
from support.calls import MSGPACK, Caller

if TYPE_CHECKING:
    from support.daemon import DaemonProcess, MakeDaemon


@pytest.fixture
def apart(make_daemon: MakeDaemon) -> DaemonProcess:
    """A daemon whose operations have a port of their own."""
    made = make_daemon("--ops-listen", "127.0.0.1:0")
    made.start()
    return made


def test_the_log_names_the_port_of_the_operations(apart: DaemonProcess) -> None:
    (listening,), (ready,) = apart.events("listening"), apart.events("ready")
    assert listening["ops_url"] == ready["ops_url"] != ready["url"]
    assert Caller(ready["ops_url"]).call("GET", "/livez").status == 200
    assert apart.anonymous().call("GET", "/livez").status == 404


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/openapi.json"])
def test_probes_may_use_head(daemon: DaemonProcess, path: str) -> None:
    connection = daemon.anonymous().connect()
    heads = []
    for method in ("HEAD", "GET"):
        connection.request(method, path)
        response = connection.getresponse()
        assert (response.read() == b"") == (method == "HEAD")
        heads.append((response.status, sorted(response.headers)))
    connection.close()
    assert heads[0] == heads[1]
    assert heads[0][0] == 200


def test_who_waits_is_told_in_a_header_when_to_ask_again(daemon: DaemonProcess) -> None:
    caller = daemon.caller()
    for _ in range(2):
        caller.acquire()
    waiting = caller.acquire(wait=60)
    assert waiting.status == 202
    assert int(waiting.headers["Retry-After"]) >= waiting.body["retry_after"]


def test_leases_are_listed_page_by_page_and_one_by_one(daemon: DaemonProcess) -> None:
    caller = daemon.caller()
    held = {caller.acquire().body["lease"]["id"] for _ in range(2)}
    listed = caller.call("GET", "/v1/leases?limit=100").body
    assert {one["id"] for one in listed["items"]} == held
    one = held.pop()
    assert caller.call("GET", f"/v1/leases/{one}").body["id"] == one
    assert caller.call("GET", f"/v1/leases/{uuid.uuid4()}").code == "not_found"


def test_a_key_learns_who_it_is_and_what_its_organization_has(daemon: DaemonProcess) -> None:
    caller = daemon.caller()
    me = caller.call("GET", "/v1/whoami").body
    assert (me["organization"], me["key"]["name"], me["default_license"]) == ("acme", "ci", "kre")
    assert caller.call("GET", "/v1/orgs/acme").body["name"] == "Acme Testing"
    (license,) = caller.call("GET", "/v1/orgs/acme/licenses").body["items"]
    assert (license["name"], license["seats"], license["available"]) == ("kre", 2, 2)


def test_msgpack_is_spoken_both_ways_and_json_where_it_is_asked_for(
    daemon: DaemonProcess,
) -> None:
    caller = daemon.caller()
    body = {"leases": [str(uuid.uuid4())]}
    mirrored = caller.call("POST", "/v1/leases/renew", body, media_type=MSGPACK)
    assert mirrored.headers["Content-Type"] == MSGPACK
    chosen = caller.call(
        "POST",
        "/v1/leases/renew",
        body,
        media_type=MSGPACK,
        headers={"Accept": "application/json"},
    )
    assert chosen.headers["Content-Type"] == "application/json"
    assert chosen.body == mirrored.body


def test_problems_are_json_unless_msgpack_is_accepted(daemon: DaemonProcess) -> None:
    caller = daemon.caller()
    sent = msgpack.packb([1])
    plain = caller.call("POST", "/v1/leases", raw=sent, media_type=MSGPACK)
    packed = caller.call(
        "POST", "/v1/leases", raw=sent, media_type=MSGPACK, headers={"Accept": MSGPACK}
    )
    assert plain.headers["Content-Type"] == "application/problem+json"
    assert packed.headers["Content-Type"] == "application/problem+msgpack"
    assert plain.body == packed.body
    assert plain.body["status"] == plain.status == 422


def test_every_answer_carries_a_request_id_of_the_servers_own(daemon: DaemonProcess) -> None:
    caller = daemon.caller()
    answers = [
        caller.call("GET", "/livez", headers={"Lessor-Request-Id": "mine"}),
        caller.call("GET", "/v1/whoami"),
        caller.call("GET", "/nowhere"),
        caller.call("PUT", "/v1/leases"),
        caller.release(str(uuid.uuid4())),
        daemon.anonymous().call("GET", "/v1/whoami"),
    ]
    ids = [answer.headers["Lessor-Request-Id"] for answer in answers]
    assert all(re.fullmatch(r"[0-9a-f]{16}", one) for one in ids)
    assert len(set(ids)) == len(ids)


def test_a_path_or_method_that_is_not_served_is_told_so(daemon: DaemonProcess) -> None:
    caller = daemon.caller()
    assert caller.call("GET", "/nowhere").code == "not_found"
    refused = caller.call("PUT", "/v1/leases")
    assert (refused.status, refused.code) == (405, "method_not_allowed")
    assert refused.headers["Allow"] == "GET, POST"


@pytest.mark.parametrize(("version", "status"), [("1", 200), ("2", 400), ("x", 400)])
def test_an_unknown_protocol_version_is_refused(
    daemon: DaemonProcess, version: str, status: int
) -> None:
    answer = daemon.caller().call("GET", "/v1/whoami", headers={"Lessor-Protocol": version})
    assert answer.status == status
    assert answer.code == ("" if status == 200 else "unsupported_version")


def test_keys_that_do_not_hold_are_refused_each_in_its_way(daemon: DaemonProcess) -> None:
    def whoami(key: str | None, **headers: str) -> tuple[int, str]:
        answer = Caller(daemon.url, key).call("GET", "/v1/whoami", headers=headers)
        return answer.status, answer.code

    good = daemon.key("ci")
    assert whoami(None) == (401, "unauthenticated")
    assert whoami("hunter2") == (401, "unauthenticated")
    assert whoami(good + "x") == (401, "unauthenticated")
    assert whoami("lsr_unknown_key") == (401, "unauthenticated")
    assert whoami("lsr_" + "a" * 5000 + "_b") == (401, "unauthenticated")
    assert whoami(None, Authorization=f"Basic {good}") == (401, "unauthenticated")
    assert whoami(daemon.key("old")) == (401, "unauthenticated")
    assert whoami(daemon.key("gone")) == (403, "revoked")


def test_a_key_does_only_what_its_scopes_allow(daemon: DaemonProcess) -> None:
    reader = daemon.caller("reader")
    assert reader.acquire().code == "forbidden"
    assert reader.renew().code == "forbidden"
    assert reader.release(str(uuid.uuid4())).code == "forbidden"
    assert reader.call("GET", "/v1/leases").status == 200
    operator = daemon.caller("operator")
    assert operator.call("GET", "/v1/whoami").body["organization"] is None
    assert operator.call("GET", "/v1/orgs/acme/licenses").code == "forbidden"
    assert operator.acquire().code == "forbidden"


def test_another_organization_sees_and_touches_nothing(daemon: DaemonProcess) -> None:
    lease_id = daemon.caller().acquire().body["lease"]["id"]
    other = daemon.caller("other")
    assert other.call("GET", "/v1/orgs/acme").code == "not_found"
    assert other.call("GET", "/v1/orgs/acme/licenses").code == "not_found"
    assert other.call("GET", f"/v1/leases/{lease_id}").code == "not_found"
    assert other.call("GET", "/v1/leases").body["items"] == []
    assert other.renew(lease_id).body["renewed"] == []
    assert other.release(lease_id).code == "not_found"
    assert daemon.caller().renew(lease_id).body["renewed"] == [lease_id]


def test_probes_and_metrics_need_no_key(own_daemon: DaemonProcess) -> None:
    own_daemon.caller().acquire()
    anyone = own_daemon.anonymous()
    assert anyone.call("GET", "/livez").status == 200
    assert anyone.call("GET", "/readyz").body == {"status": "ready", "recovering": False}
    text = anyone.call("GET", "/metrics").body
    assert 'lessor_leases{license="kre",org="acme"} 1.0' in text
    assert 'lessor_acquire_total{result="granted"} 1.0' in text
    assert 'lessor_request_seconds_count{op="acquire"} 1.0' in text


def test_the_description_names_every_route_and_no_other(daemon: DaemonProcess) -> None:
    served = {(one.method.lower(), one.path) for one in (*routes.API, *routes.OPS)}
    described = daemon.anonymous().call("GET", "/openapi.json").body
    paths = described["paths"]
    assert {(method, path) for path, calls in paths.items() for method in calls} == served
    assert described == document()


def test_every_reference_in_the_description_leads_somewhere() -> None:
    text = json.dumps(document())
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', text)):
        found = document()
        for part in reference.split("/"):
            found = found[part]


def test_operations_can_be_moved_to_a_port_of_their_own(
    make_daemon: MakeDaemon, free_port: int
) -> None:
    daemon = make_daemon("--ops-listen", f"127.0.0.1:{free_port}")
    daemon.start()
    ops = Caller(f"http://127.0.0.1:{free_port}")
    assert daemon.anonymous().call("GET", "/metrics").status == 404
    assert ops.call("GET", "/readyz").status == 200
    assert ops.call("GET", "/metrics").status == 200
    assert ops.call("GET", "/v1/whoami").status == 404


def test_log_lines_of_a_call_carry_its_ids_and_no_key(own_daemon: DaemonProcess) -> None:
    granted = own_daemon.caller().acquire()
    (line,) = own_daemon.events("lease_granted")
    lease_id = granted.body["lease"]["id"]
    assert (line["org"], line["license"], line["lease"]) == ("acme", "kre", lease_id)
    assert line["request"] == granted.headers["Lessor-Request-Id"]
    written = own_daemon.log_path.read_text()
    for name in ("ci", "admin", "operator"):
        assert own_daemon.key(name) not in written
        assert own_daemon.key(name).rpartition("_")[2] not in written
