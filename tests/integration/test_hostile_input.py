"""Bad input gets its documented code, and the daemon keeps serving the others."""

from __future__ import annotations

import gzip
import json
import uuid
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from lessor_protocol.message import MAX_CERTIFICATE
from support.calls import JSON, MSGPACK
from support.raw import RawConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.daemon import DaemonProcess

ACQUIRE = "/v1/leases"
RENEW = "/v1/leases/renew"
# Fixed where it names a test: runs side by side must collect the same names.
A_LEASE = "67ca3ace-0ae6-4801-a51c-7b0ea531ed19"


@pytest.fixture(autouse=True)
def others_are_served(shared: DaemonProcess) -> Iterator[None]:
    """After each attack a decent client gets a seat and gives it back."""
    yield
    caller = shared.caller()
    granted = caller.acquire()
    assert granted.status == 201
    assert caller.release(granted.body["lease"]["id"]).status == 204


def acquire_body(**fields: object) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "license": "kre",
        "machine": {"id": "machine-1"},
        "process": {"pid": 1, "command": "pytest"},
        **fields,
    }


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"", JSON),
        (b"{", JSON),
        (b'{"id": "', JSON),
        (b"\xff\xfe\x00", JSON),
        (b'{"id": NaN}', JSON),
        (b"[" * 100_000, JSON),
        (b"[" * 20 + b"]" * 20, JSON),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, JSON),
        (b"1" * 100_000, JSON),
        (b"[" + b"1," * 20_000 + b"1]", JSON),
        (b"", MSGPACK),
        (b"\xc1", MSGPACK),
        (msgpack.packb(acquire_body(id=A_LEASE))[:-7], MSGPACK),
        (msgpack.packb(acquire_body(id=A_LEASE)) + b"\x00", MSGPACK),
        (b"\x91" * 100_000, MSGPACK),
        (b"\xdd\xff\xff\xff\xff", MSGPACK),
        (b"\xdf\xff\xff\xff\xff", MSGPACK),
        (b"\xdb\xff\xff\xff\xff", MSGPACK),
        (b"\xc7\x04\x05abcd", MSGPACK),
        (b"\x81\x01\x02", MSGPACK),
    ],
)
@pytest.mark.parametrize("path", [ACQUIRE, RENEW])
def test_a_message_that_cannot_be_read_is_malformed(
    shared: DaemonProcess, path: str, data: bytes, media_type: str
) -> None:
    answer = shared.caller().call("POST", path, raw=data, media_type=media_type)
    assert (answer.status, answer.code) == (400, "malformed")
    assert len(answer.body["detail"]) < 400


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"id": "not a uuid"}, "id"),
        ({"id": "a" * 100_000}, "id"),
        ({"id": 5}, "id"),
        ({"id": None}, "id"),
        ({"license": ""}, "license"),
        ({"license": "k" * 100_000}, "license"),
        ({"license": "a\x00b"}, "license"),
        ({"license": ["kre"]}, "license"),
        ({"machine": "m"}, "machine"),
        ({"machine": {}}, "machine.id"),
        ({"machine": {"id": "m" * 129}}, "machine.id"),
        ({"machine": {"id": "m\u202e"}}, "machine.id"),
        ({"machine": {"id": "m", "ephemeral": "yes"}}, "machine.ephemeral"),
        ({"process": {"pid": "1", "command": "c"}}, "process.pid"),
        ({"process": {"pid": -1, "command": "c"}}, "process.pid"),
        ({"process": {"pid": 2**63, "command": "c"}}, "process.pid"),
        ({"process": {"pid": True, "command": "c"}}, "process.pid"),
        ({"process": {"pid": 1, "command": "c" * 1025}}, "process.command"),
        ({"labels": []}, "labels"),
        ({"labels": {"a": 1}}, "labels.a"),
        ({"labels": {"a": "b" * 257}}, "labels.a"),
        ({"labels": {"a" * 65: "b"}}, "labels"),
        ({"labels": {f"k{i}": "v" for i in range(33)}}, "labels"),
        ({"wait": -1}, "wait"),
        ({"wait": "long"}, "wait"),
        ({"wait": 1e300}, "wait"),
        ({"seats": 0}, "seats"),
        ({"seats": 1.5}, "seats"),
        ({"seats": 2**70}, "seats"),
        ({"certificate": "x" * (MAX_CERTIFICATE + 1)}, "certificate"),
    ],
)
def test_a_field_that_is_not_valid_is_named(
    shared: DaemonProcess, fields: dict[str, object], field: str
) -> None:
    answer = shared.caller().call("POST", ACQUIRE, acquire_body(**fields))
    assert (answer.status, answer.code) == (422, "invalid")
    assert answer.body["field"] == field


@pytest.mark.parametrize("body", [[], "text", 7, True])
def test_a_message_that_is_no_object_is_invalid(shared: DaemonProcess, body: object) -> None:
    for path in (ACQUIRE, RENEW):
        assert shared.caller().call("POST", path, body).code == "invalid"


def test_more_renewals_than_allowed_are_invalid(shared: DaemonProcess) -> None:
    ids = [str(uuid.uuid4()) for _ in range(501)]
    answer = shared.caller().renew(*ids)
    assert (answer.status, answer.body["field"]) == (422, "leases")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/leases/not-a-uuid", "id"),
        ("/v1/leases?limit=0", "limit"),
        ("/v1/leases?limit=x", "limit"),
        ("/v1/leases?limit=99999999999999999999", "limit"),
        ("/v1/leases?cursor=x", "cursor"),
        ("/v1/leases?cursor=-1", "cursor"),
    ],
)
def test_a_path_or_query_that_is_not_valid_is_named(
    shared: DaemonProcess, path: str, field: str
) -> None:
    answer = shared.caller().call("GET", path)
    assert (answer.status, answer.code, answer.body["field"]) == (422, "invalid", field)


def test_an_unknown_license_is_not_found(shared: DaemonProcess) -> None:
    answer = shared.caller().acquire("no-such-license")
    assert (answer.status, answer.code) == (404, "unknown_license")


def test_a_body_of_another_media_type_is_not_taken(shared: DaemonProcess) -> None:
    caller = shared.caller()
    plain = caller.call("POST", ACQUIRE, raw=b"x=1", media_type="text/plain")
    assert (plain.status, plain.code) == (415, "unsupported_type")
    with RawConnection(shared.url) as connection:
        connection.send(
            f"POST {ACQUIRE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {shared.key()}\r\n"
            "Content-Length: 2\r\n\r\n{}".encode()
        )
        status, _, body = connection.read_answer()
    assert (status, body["code"]) == (415, "unsupported_type")


def test_a_compressed_body_is_not_unpacked(shared: DaemonProcess) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    answer = shared.caller().call("POST", ACQUIRE, raw=bomb, headers={"Content-Encoding": "gzip"})
    assert (answer.status, answer.code) == (415, "unsupported_type")


def test_a_body_of_20_mb_is_refused_by_its_announced_length(shared: DaemonProcess) -> None:
    with RawConnection(shared.url) as connection:
        connection.send_head(ACQUIRE, shared.key(), Content_Length=str(20_000_000))
        status, headers, body = connection.read_answer()
        assert (status, body["code"]) == (413, "too_large")
        assert headers["connection"] == "close"
        assert connection.is_closed_within(10)


def test_a_client_that_sends_20_mb_before_it_listens_still_hears_why(
    shared: DaemonProcess,
) -> None:
    answer = shared.caller().call("POST", ACQUIRE, raw=b" " * 20_000_000)
    assert (answer.status, answer.code) == (413, "too_large")


def test_an_unannounced_body_of_20_mb_is_refused_when_it_gets_too_long(
    shared: DaemonProcess,
) -> None:
    with RawConnection(shared.url) as connection:
        connection.send_head(ACQUIRE, shared.key(), Transfer_Encoding="chunked")
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        for _ in range(17):
            connection.send(chunk)
        status, _, body = connection.read_answer()
        assert (status, body["code"]) == (413, "too_large")
        assert connection.is_closed_within(10)


def test_a_message_just_within_the_limit_is_read(shared: DaemonProcess) -> None:
    body = json.dumps({"leases": []}).encode()
    answer = shared.caller().call("POST", RENEW, raw=body + b" " * (2**20 - len(body)))
    assert answer.status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"GET\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: " + b"b" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 500 + b"\r\n",
    ],
)
def test_bytes_that_are_no_http_get_a_problem_and_are_cut_off(
    shared: DaemonProcess, data: bytes
) -> None:
    with RawConnection(shared.url) as connection:
        connection.send(data)
        status, headers, body = connection.read_answer()
        assert (status, body["code"]) == (400, "malformed")
        assert headers["lessor-request-id"]
        assert connection.is_closed_within(5)


def test_a_chunked_body_that_breaks_off_or_lies_is_malformed(shared: DaemonProcess) -> None:
    for _ in range(20):
        with RawConnection(shared.url) as connection:
            connection.send_head(ACQUIRE, shared.key(), Transfer_Encoding="chunked")
            connection.send(b"zz\r\n{}\r\n")
            status, _, body = connection.read_answer()
            assert (status, body["code"]) == (400, "malformed")
            assert connection.is_closed_within(5)


def test_a_client_that_leaves_in_the_middle_of_its_body_harms_nobody(
    shared: DaemonProcess,
) -> None:
    for _ in range(20):
        with RawConnection(shared.url) as connection:
            connection.send_head(ACQUIRE, shared.key(), Content_Length="1000")
            connection.send(b'{"id"')


def test_a_client_that_does_not_wait_for_its_answer_harms_nobody(
    shared: DaemonProcess,
) -> None:
    body = json.dumps({"leases": []}).encode()
    for _ in range(20):
        with RawConnection(shared.url) as connection:
            connection.send_head(RENEW, shared.key(), Content_Length=str(len(body)))
            connection.send(body)


def test_fields_nobody_knows_are_ignored(shared: DaemonProcess) -> None:
    caller = shared.caller()
    granted = caller.call("POST", ACQUIRE, acquire_body(future={"deep": [1, 2]}))
    assert granted.status == 201
    caller.release(granted.body["lease"]["id"])


def test_metrics_tell_of_no_person_machine_or_key_and_take_nothing(daemon: DaemonProcess) -> None:
    caller = daemon.caller("ci")
    secrets: dict[str, Any] = {
        "machine": {"id": "rig-of-mallory", "name": "mallorys-laptop"},
        "process": {"pid": 1, "command": "steal --all", "user": "mallory"},
        "labels": {"branch": "feature/secret"},
    }
    lease_id = caller.acquire(**secrets).body["lease"]["id"]
    anonymous = daemon.anonymous()
    text = anonymous.call("GET", "/metrics").body
    assert 'lessor_leases{license="kre",org="acme"} 1.0' in text
    key = caller.key or ""
    told = ("mallory", "rig-of", "steal", "secret", key, key.split("_")[1], lease_id, "example.com")
    assert [one for one in told if one in text] == []
    for path in ("/metrics", "/livez", "/readyz", "/openapi.json"):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            refused = anonymous.call(method, path, {"lessor_seats": 0})
            assert refused.status in (404, 405), (method, path)
    assert anonymous.call("GET", "/metrics?name[]=../../secret").status == 200
    caller.release(lease_id)
