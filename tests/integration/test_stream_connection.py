"""The stream as a connection: who may open it, what it bounds, how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import time
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgpack
import pytest
from support.raw import RawConnection
from support.streaming import BINARY, CLOSE, PING, TEXT, Closed, Refused, StreamCaller
from support.waiting import wait_until

if TYPE_CHECKING:
    from support.daemon import DaemonProcess, MakeDaemon

UPGRADE = (
    b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Authorization: Bearer %s\r\n\r\n"
)


def refusal(daemon: DaemonProcess, key: str | None, subprotocol: str = "lessor.v1") -> str:
    """The code with which an upgrade is refused."""
    with pytest.raises(Refused) as refused:
        StreamCaller(daemon.url, key, subprotocol=subprotocol)
    problem = json.loads(refused.value.body)
    assert problem["status"] == refused.value.status
    return str(problem["code"])


def test_the_upgrade_names_the_subprotocol_and_a_request_id(daemon: DaemonProcess) -> None:
    with StreamCaller(daemon.url, daemon.key()) as stream:
        assert stream.head["Sec-WebSocket-Protocol"] == "lessor.v1"
        assert len(stream.head["Lessor-Request-Id"]) == 16
        assert stream.head["Server"] == "lessor"
        assert "Sec-WebSocket-Extensions" not in stream.head
    with StreamCaller(daemon.url, daemon.key(), subprotocol=None) as stream:
        assert stream.renew(str(uuid.uuid4())).status == 200


def test_who_may_not_hold_leases_gets_no_stream(daemon: DaemonProcess) -> None:
    assert refusal(daemon, None) == "unauthenticated"
    assert refusal(daemon, "lsr_unknown_key") == "unauthenticated"
    assert refusal(daemon, daemon.key("gone")) == "revoked"
    assert refusal(daemon, daemon.key("reader")) == "forbidden"
    assert refusal(daemon, daemon.key("operator")) == "forbidden"
    assert refusal(daemon, daemon.key(), "lessor.v9") == "unsupported_version"
    plain = daemon.caller().call("GET", "/v1/stream")
    assert (plain.status, plain.code) == (400, "malformed")


def test_requests_are_answered_in_any_order_by_their_seq(daemon: DaemonProcess) -> None:
    with StreamCaller(daemon.url, daemon.key()) as stream:
        seqs = [stream.begin("renew", {"leases": [str(uuid.uuid4())]}) for _ in range(300)]
        for seq in reversed(seqs):
            assert stream.reply_to(seq).status == 200


def test_an_unknown_operation_is_an_error_and_the_stream_goes_on(daemon: DaemonProcess) -> None:
    with StreamCaller(daemon.url, daemon.key()) as stream:
        refused = stream.call("dance", {})
        assert (refused.status, refused.code) == (404, "not_found")
        assert stream.acquire().status == 201


@pytest.mark.parametrize(
    ("opcode", "payload", "code"),
    [
        (BINARY, b"", 1007),
        (BINARY, b"\xc1", 1007),
        (BINARY, b"\x93\x01\xa5renew", 1007),
        (BINARY, msgpack.packb({"op": "renew"}), 1007),
        (BINARY, msgpack.packb([1, "renew"]), 1007),
        (BINARY, msgpack.packb([0, "renew", {"leases": []}]), 1007),
        (BINARY, msgpack.packb([-1, "renew", {"leases": []}]), 1007),
        (BINARY, msgpack.packb([2**60, "renew", {"leases": []}]), 1007),
        (BINARY, msgpack.packb([1.0, "renew", {"leases": []}]), 1007),
        (BINARY, msgpack.packb([True, "renew", {"leases": []}]), 1007),
        (BINARY, msgpack.packb(["1", "renew", {"leases": []}]), 1007),
        (BINARY, msgpack.packb([1, 2, {"leases": []}]), 1007),
        (BINARY, msgpack.packb([1, "renew", msgpack.ExtType(4, b"x")]), 1007),
        (BINARY, b"\x91" * 5000, 1007),
        (BINARY, random.Random(1).randbytes(64), 1007),
        (BINARY, bytes((1 << 20) + 1), 1009),
        (TEXT, b"hello", 1003),
    ],
)
def test_a_frame_that_cannot_be_read_ends_its_stream_and_no_other(
    shared: DaemonProcess, opcode: int, payload: bytes, code: int
) -> None:
    with StreamCaller(shared.url, shared.key()) as good:
        lease_id = good.acquire().body["lease"]["id"]
        with StreamCaller(shared.url, shared.key()) as bad:
            bad.send(opcode, payload)
            assert bad.close_code() == code
        assert good.renew(lease_id).body["renewed"] == [lease_id]
        assert good.release(lease_id).status == 204


def test_who_goes_away_before_the_upgrade_is_answered_is_no_mistake(
    own_daemon: DaemonProcess,
) -> None:
    store = own_daemon.store_pid()
    assert store is not None
    os.kill(store, signal.SIGSTOP)
    try:
        with RawConnection(own_daemon.url) as impatient:
            impatient.send(UPGRADE % own_daemon.key().encode())
        assert own_daemon.anonymous().call("GET", "/livez").status == 200, "it has heard all that"
    finally:
        os.kill(store, signal.SIGCONT)
    with StreamCaller(own_daemon.url, own_daemon.key()) as stream:
        assert stream.acquire().status == 201
    assert not own_daemon.events("internal_error")


def test_unmasked_bytes_and_broken_framing_end_the_stream(daemon: DaemonProcess) -> None:
    with StreamCaller(daemon.url, daemon.key()) as bad:
        bad.send_raw(b"\xff\xff\xff\xff" * 8)
        assert bad.close_code() in (1002, 1006)


def test_a_message_in_fragments_is_one_and_a_ping_may_come_between(daemon: DaemonProcess) -> None:
    with StreamCaller(daemon.url, daemon.key()) as stream:
        lease_id = stream.acquire().body["lease"]["id"]
        payload = msgpack.packb([77, "renew", {"leases": [lease_id]}])
        first, middle, last = payload[:5], payload[5:20], payload[20:]
        stream.send_raw(bytes((BINARY, 0x80 | len(first))) + bytes(4) + first)
        stream.send(PING, b"between")
        stream.send_raw(bytes((0, 0x80 | len(middle))) + bytes(4) + middle)
        stream.send_raw(bytes((0x80, 0x80 | len(last))) + bytes(4) + last)
        assert stream.reply_to(77).body["renewed"] == [lease_id]
        assert stream.pongs == [b"between"]


def test_what_is_sent_with_the_upgrade_is_answered_after_it(daemon: DaemonProcess) -> None:
    early = msgpack.packb([5, "renew", {"leases": [str(uuid.uuid4())]}])
    frame = bytes((0x80 | BINARY, 0x80 | len(early))) + bytes(4) + early
    with StreamCaller(daemon.url, daemon.key(), early=frame) as stream:
        assert stream.reply_to(5).body["lost"][0]["code"] == "not_found"
        assert stream.acquire().status == 201


def test_a_close_is_answered_with_its_code(daemon: DaemonProcess) -> None:
    with StreamCaller(daemon.url, daemon.key()) as stream:
        stream.send(CLOSE, (4321).to_bytes(2, "big"))
        assert stream.close_code() == 4321
        with pytest.raises(Closed):
            stream.read_frame()
    with StreamCaller(daemon.url, daemon.key()) as stream:
        stream.send(CLOSE, b"")
        assert stream.close_code() == 1000


def test_more_requests_than_may_be_under_way_are_all_answered(daemon: DaemonProcess) -> None:
    ids = [str(uuid.uuid4()) for _ in range(400)]
    with StreamCaller(daemon.url, daemon.key()) as stream:
        seqs = [stream.begin("renew", {"leases": ids}) for _ in range(20)]
        seqs += [stream.begin("release", {"id": one}) for one in ids]
        for seq in seqs:
            assert stream.reply_to(seq).status in (200, 404)


def test_pings_are_answered(daemon: DaemonProcess) -> None:
    with StreamCaller(daemon.url, daemon.key()) as stream:
        stream.send(PING, b"here?")
        assert stream.acquire().status == 201
        assert stream.pongs == [b"here?"]


def test_a_closed_connection_frees_nothing(daemon: DaemonProcess) -> None:
    with StreamCaller(daemon.url, daemon.key()) as stream:
        lease_id = stream.acquire().body["lease"]["id"]
    assert daemon.caller().renew(lease_id).body["renewed"] == [lease_id]


def test_a_slow_reader_is_closed_and_holds_up_nobody(
    own_daemon: DaemonProcess,
) -> None:
    frame = msgpack.packb([1, "renew", {"leases": [str(uuid.uuid4()) for _ in range(500)]}])
    with (
        StreamCaller(own_daemon.url, own_daemon.key(), receive_buffer=4096) as slow,
        StreamCaller(own_daemon.url, own_daemon.key()) as quick,
    ):
        slow.set_timeout(0.5)
        with contextlib.suppress(TimeoutError, ConnectionError):
            for _ in range(1000):  # each gets an answer of some 40,000 bytes, none is read
                slow.send(BINARY, frame)
            pytest.fail("the daemon reads on although nothing of its answers is taken")
        lease_id = quick.acquire().body["lease"]["id"]
        worst = 0.0

        def is_closed() -> bool:
            nonlocal worst
            began = time.monotonic()
            assert quick.renew(lease_id).body["renewed"] == [lease_id]
            worst = max(worst, time.monotonic() - began)
            return bool(own_daemon.events("slow_reader"))

        wait_until(is_closed, 30, "the slow reader to be noticed")
        assert worst < 2
        (event,) = own_daemon.events("slow_reader")
        assert event["unsent"] < 4 << 20
        slow.set_timeout(20)
        assert slow.close_code() in (4008, 1006)


def test_half_open_upgrades_cost_nobody_anything(daemon: DaemonProcess) -> None:
    parts = urlsplit(daemon.url)
    head = f"GET /v1/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {daemon.key()}\r\nUpgra"
    with ExitStack() as stack:
        half_open = []
        for _ in range(200):
            one = socket.create_connection((parts.hostname, parts.port), timeout=20)
            stack.callback(one.close)
            one.sendall(head.encode())
            half_open.append(one)
        stream = stack.enter_context(StreamCaller(daemon.url, daemon.key()))
        lease_id = stream.acquire().body["lease"]["id"]
        for _ in range(20):
            began = time.monotonic()
            assert stream.renew(lease_id).body["renewed"] == [lease_id]
            assert time.monotonic() - began < 1
        for one in half_open:
            one.settimeout(15)
            assert one.recv(1) == b""
        assert stream.renew(lease_id).body["renewed"] == [lease_id]


def test_a_revoked_key_is_refused_on_a_stream_that_is_open(daemon: DaemonProcess) -> None:
    owner = daemon.caller("admin")
    made = owner.call("POST", "/v1/orgs/acme/keys", {"name": "brief", "scopes": ["run"]}).body
    with StreamCaller(daemon.url, made["secret"]) as stream:
        lease_id = stream.acquire().body["lease"]["id"]
        key_id = made["secret"].split("_")[1]
        path = f"/v1/orgs/acme/keys/{key_id}?end_sessions=true"
        assert owner.call("DELETE", path).status in (200, 204)

        def is_refused() -> bool:
            return stream.renew(lease_id).code == "revoked"

        wait_until(is_refused, 10, "the revocation to be seen")
        assert stream.acquire().code == "revoked"
        assert stream.release(lease_id).status == 204, "the report of the kill frees the seat"


@pytest.mark.parametrize("ending", ["revoked", "expired"])
def test_what_a_key_holds_may_finish_on_streams_too(daemon: DaemonProcess, ending: str) -> None:
    owner = daemon.caller("admin")
    made = owner.call("POST", "/v1/orgs/acme/keys", {"name": ending, "scopes": ["run"]}).body
    path = f"/v1/orgs/acme/keys/{made['secret'].split('_')[1]}"
    refused = {"revoked": "revoked", "expired": "unauthenticated"}[ending]
    with StreamCaller(daemon.url, made["secret"]) as stream:
        lease_id = stream.acquire().body["lease"]["id"]
        if ending == "revoked":
            owner.call("DELETE", path)
        else:
            owner.call("PATCH", path, {"expires": "2020-01-01T00:00:00Z"})

        def starts_nothing() -> bool:
            return stream.acquire().code == refused

        wait_until(starts_nothing, 10, "the end of the key to be seen")
        assert stream.renew(lease_id).body["renewed"] == [lease_id]
    with StreamCaller(daemon.url, made["secret"]) as anew:
        assert anew.acquire().code == refused
        assert anew.renew(lease_id).body["renewed"] == [lease_id]
        assert anew.release(lease_id).status == 204
        assert anew.call("dance", {}).code == refused


def test_a_drain_is_told_and_the_stream_serves_until_it_is_closed(
    own_daemon: DaemonProcess,
) -> None:
    with StreamCaller(own_daemon.url, own_daemon.key()) as stream:
        lease_id = stream.acquire().body["lease"]["id"]
        own_daemon.signal(signal.SIGTERM)
        wait_until(lambda: own_daemon.events("draining"), what="the drain")
        assert stream.acquire().code == "draining"
        assert stream.unasked == [("drain", {})]
        assert refusal(own_daemon, own_daemon.key()) == "draining"
        assert stream.renew(lease_id).body["renewed"] == [lease_id]
    began = time.monotonic()
    assert own_daemon.wait() == 0
    assert time.monotonic() - began < 5


def test_a_stream_that_stays_is_closed_when_the_drain_is_over(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon("--drain", "500ms")
    daemon.start()
    with StreamCaller(daemon.url, daemon.key()) as stream:
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        assert stream.close_code() == 1001
        assert 0.4 <= time.monotonic() - began < 5
        assert daemon.wait() == 0


def test_a_stream_ends_without_a_word_when_its_daemon_is_killed(own_daemon: DaemonProcess) -> None:
    with StreamCaller(own_daemon.url, own_daemon.key()) as stream:
        own_daemon.kill()
        with pytest.raises(Closed) as closed:
            stream.read_frame()
        assert closed.value.code == 1006


def test_an_acquire_that_is_held_when_its_stream_ends_leaves_no_lease(
    daemon: DaemonProcess,
) -> None:
    caller = daemon.caller()
    held = [caller.acquire().body["lease"]["id"] for _ in range(2)]
    with StreamCaller(daemon.url, daemon.key()) as stream:
        body = {"license": "kre", "machine": {"id": "m"}, "process": {"pid": 1, "command": "c"}}
        stream.begin("acquire", {**body, "id": str(uuid.uuid4()), "wait": 60, "hold": 6})
        wait_until(lambda: _queue_length(daemon) == 1, what="the acquire to join the line")
    for lease_id in held:
        caller.release(lease_id)
    assert caller.call("GET", "/v1/leases").body["items"] == []


def _queue_length(daemon: DaemonProcess) -> float:
    text = daemon.anonymous().call("GET", "/metrics").body
    name = 'lessor_queue_length{license="kre",org="acme"} '
    return next(float(line.removeprefix(name)) for line in text.splitlines() if name in line)
