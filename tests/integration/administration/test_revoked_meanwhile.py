"""A key that is revoked while its call is held, or while its body arrives, gains nothing more."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from support.raw import RawConnection
from support.streaming import StreamCaller
from support.waiting import wait_until

if TYPE_CHECKING:
    from support.administration import Acme
    from support.calls import Caller

HOLD_SECONDS = 9


def revoke(acme: Acme, key_id: str) -> None:
    """Revoke a key; what it holds may finish."""
    assert acme.delete(f"/keys/{key_id}").status == 200


def wait_for_a_place(acme: Acme) -> None:
    wait_until(lambda: acme.license()["queue_length"] == 1, what="the call to be held")


@pytest.mark.parametrize("way", ["HTTP", "stream"])
def test_a_key_revoked_while_its_acquire_is_held_claims_no_seat(acme: Acme, way: str) -> None:
    holding = [acme.held("run"), acme.held("run")]
    key_id, caller = acme.new_key(scopes=["run"])
    wish: dict[str, Any] = {"id": str(uuid.uuid4()), "wait": 60, "hold": HOLD_SECONDS}
    if way == "HTTP":
        with ThreadPoolExecutor(1) as pool:
            held = pool.submit(caller.acquire, **wish)
            wait_for_a_place(acme)
            revoke(acme, key_id)
            acme.caller("run").release(holding[0])
            answer = held.result()
    else:
        with StreamCaller(acme.daemon.url, caller.key) as stream, ThreadPoolExecutor(1) as pool:
            reply = pool.submit(stream.acquire, **wish)
            wait_for_a_place(acme)
            revoke(acme, key_id)
            acme.caller("run").release(holding[0])
            answer = reply.result()
    assert (answer.status, answer.code) == (403, "revoked")
    assert acme.get(f"/sessions/{wish['id']}").code == "not_found"


def slow_post(acme: Acme, caller: Caller, path: str, body: object, key_id: str) -> tuple[int, Any]:
    """A POST whose key is revoked between the two halves of its body."""
    data = json.dumps(body).encode()
    half = len(data) // 2
    with RawConnection(acme.daemon.url) as connection:
        connection.send_head(path, caller.key or "", Content_Length=str(len(data)))
        connection.send(data[:half])
        wait_until(lambda: "last_used" in acme.get(f"/keys/{key_id}").body, what="it to be let in")
        revoke(acme, key_id)
        connection.send(data[half:])
        status, _, answer = connection.read_answer()
    return status, answer


def test_a_key_revoked_while_a_claim_arrives_gets_no_seat(acme: Acme) -> None:
    key_id, caller = acme.new_key(scopes=["run"])
    wish = {
        "id": str(uuid.uuid4()),
        "license": "kre",
        "machine": {"id": "m"},
        "process": {"pid": 1, "command": "c"},
    }
    status, answer = slow_post(acme, caller, "/v1/leases", wish, key_id)
    assert (status, answer["code"]) == (403, "revoked")
    assert acme.license()["leases"] == 0


def test_a_key_revoked_while_a_form_arrives_changes_nothing(acme: Acme) -> None:
    key_id, caller = acme.new_key()
    wish = {"name": "back-door", "scopes": ["admin"]}
    status, answer = slow_post(acme, caller, "/v1/orgs/acme/keys", wish, key_id)
    assert (status, answer["code"]) == (403, "revoked")
    assert "back-door" not in {key["name"] for key in acme.get("/keys").body["items"]}


def test_a_key_revoked_while_it_watches_is_told_what_ends(acme: Acme) -> None:
    key_id, caller = acme.new_key(scopes=["run"])
    lease_id = caller.acquire().body["lease"]["id"]
    before = acme.daemon.script_calls("news")
    with ThreadPoolExecutor(1) as pool:
        watched = pool.submit(
            caller.call, "POST", "/v1/leases/watch", {"leases": [lease_id], "wait": 20}
        )
        wait_until(lambda: acme.daemon.script_calls("news") > before, what="the watch to be held")
        assert acme.delete(f"/keys/{key_id}?end_sessions=true").status == 200
        (lost,) = watched.result().body["lost"]
    assert (lost["id"], lost["code"]) == (lease_id, "lease_ended")
    again = caller.call("POST", "/v1/leases/watch", {"leases": [lease_id], "wait": 20})
    assert again.code == "revoked"
