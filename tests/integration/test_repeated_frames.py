"""A renewal on a stream that is the same as the last but for its number means the same."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from support.streaming import BINARY, StreamCaller
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.daemon import DaemonProcess


@pytest.fixture
def stream(daemon: DaemonProcess) -> Iterator[StreamCaller]:
    with StreamCaller(daemon.url, daemon.key()) as made:
        yield made


def renew(stream: StreamCaller, seq: bytes, *leases: object) -> Any:  # noqa: ANN401 - a body
    """The body of the answer to a renewal whose ``seq`` is written like this."""
    body = msgpack.packb("renew") + msgpack.packb({"leases": leases})
    stream.send(BINARY, b"\x93" + seq + body)
    return stream.reply_to(msgpack.unpackb(seq)).body


SEQS = [
    b"\x01",
    b"\x7f",
    b"\xcc\x80",
    b"\xcd\x01\x00",
    b"\xce\x00\x01\x00\x00",
    b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00",
    b"\xcd\x00\x05",  # in more bytes than it needs
    b"\xd1\x00\x06",  # as a number with a sign
]


def test_each_is_answered_by_its_own_number(stream: StreamCaller) -> None:
    lease_id = stream.acquire().body["lease"]["id"]
    answers = [renew(stream, seq, lease_id) for seq in SEQS + SEQS]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["renewed"] == [lease_id]
    assert (answers[0]["lost"], answers[0]["notices"]) == ([], [])


def test_a_lease_that_is_lost_meanwhile_is_said_to_be_lost(
    stream: StreamCaller, daemon: DaemonProcess
) -> None:
    kept, lost = (stream.acquire().body["lease"]["id"] for _ in range(2))
    for seq in SEQS[:3]:
        assert renew(stream, seq, kept, lost)["renewed"] == [kept, lost]
    daemon.caller().release(lost)
    for seq in SEQS[:3]:
        answer = renew(stream, seq, kept, lost)
        assert answer["renewed"] == [kept]
        assert [one["id"] for one in answer["lost"]] == [lost]


def test_another_ttl_is_told(own_daemon: DaemonProcess) -> None:
    with StreamCaller(own_daemon.url, own_daemon.key()) as stream:
        lease_id = stream.acquire().body["lease"]["id"]
        before = renew(stream, b"\x01", lease_id)
        path = "/v1/orgs/acme/licenses/kre"
        assert own_daemon.caller("admin").call("PATCH", path, {"ttl": 7}).status == 200
        again = stream.acquire().body["lease"]
        assert again["ttl"] == 7
        assert renew(stream, b"\x02", again["id"])["ttl"] == 7
        assert renew(stream, b"\x03", again["id"])["ttl"] == 7
        both = renew(stream, b"\x04", lease_id, again["id"])
        assert (both["ttl"], both["renewed"]) == (7, [lease_id, again["id"]])
        assert before["ttl"] != 7


def test_what_is_only_alike_is_read(stream: StreamCaller) -> None:
    mine, other = (stream.acquire().body["lease"]["id"] for _ in range(2))
    assert renew(stream, b"\x01", mine)["renewed"] == [mine]
    assert renew(stream, b"\x02", other)["renewed"] == [other]
    assert renew(stream, b"\x03", other, mine)["renewed"] == [other, mine]
    assert renew(stream, b"\x04", mine)["renewed"] == [mine]
    body = msgpack.packb("renew") + msgpack.packb({"leases": [mine]})
    stream.send(BINARY, b"\x93\x00" + body)  # the same after a number that must not be
    assert stream.close_code() == 1007


def test_a_key_that_is_revoked_renews_nothing_more(own_daemon: DaemonProcess) -> None:
    owner = own_daemon.caller("admin")
    made = owner.call(
        "POST", "/v1/orgs/acme/keys", {"name": str(uuid.uuid4()), "scopes": ["run"]}
    ).body
    path = f"/v1/orgs/acme/keys/{made['secret'].split('_')[1]}?end_sessions=true"
    with StreamCaller(own_daemon.url, made["secret"]) as stream:
        lease_id = stream.acquire().body["lease"]["id"]
        for seq in SEQS[:3]:
            assert renew(stream, seq, lease_id)["renewed"] == [lease_id]
        owner.call("DELETE", path)

        def is_refused() -> bool:
            return bool(renew(stream, b"\x01", lease_id).get("code") == "revoked")

        wait_until(is_refused, 10, "the revocation to be seen")
