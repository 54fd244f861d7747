"""``POST /v1/leases/watch``: a held request tells between renewals what the next would tell."""

from __future__ import annotations

import json
import signal
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from support.administration import BOOTSTRAP, Acme
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from support.calls import Answer
    from support.daemon import MakeDaemon

WATCH = "/v1/leases/watch"
AT_ONCE_SECONDS = 2.0
"""Far below what the watches here would wait, and enough for a busy machine."""


@pytest.fixture
def acme(make_daemon: MakeDaemon) -> Acme:
    """Two workers: what one does must reach the watches of the other."""
    daemon = make_daemon("--workers", "2", bootstrap=BOOTSTRAP)
    daemon.start()
    return Acme(daemon)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """For requests that are held."""
    with ThreadPoolExecutor(4) as made:
        yield made


def watch(acme: Acme, *leases: object, wait: float = 20, role: str = "admin") -> Answer:
    return acme.caller(role).call("POST", WATCH, {"leases": list(leases), "wait": wait})


def held(acme: Acme, pool: ThreadPoolExecutor, *leases: object) -> Future[Answer]:
    """A watch that is held by now: it has looked, and found nothing."""
    before = acme.daemon.script_calls("news")
    found = pool.submit(watch, acme, *leases)
    wait_until(lambda: acme.daemon.script_calls("news") > before, what="the watch to be held")
    return found


def take(acme: Acme) -> str:
    lease_id: str = acme.caller("admin").acquire("kre").body["lease"]["id"]
    return lease_id


def test_it_is_answered_when_a_lease_is_ended_by_whichever_worker(
    acme: Acme, pool: ThreadPoolExecutor
) -> None:
    for _ in range(6):
        lease_id = take(acme)
        answer = held(acme, pool, lease_id)
        began = time.monotonic()
        acme.post(f"/sessions/{lease_id}/end", {"reason": "the lab closes"})
        told = answer.result()
        assert time.monotonic() - began < AT_ONCE_SECONDS
        assert told.status == 200
        reason = "olga@example.com ended it: the lab closes"
        lost = {"id": lease_id, "code": "lease_ended", "reason": reason}
        assert told.body == {"lost": [lost], "notices": []}
        acme.caller("admin").release(lease_id)


def test_it_tells_of_what_happened_before_it_came(acme: Acme) -> None:
    lease_id = take(acme)
    acme.post(f"/sessions/{lease_id}/end", {})
    began = time.monotonic()
    assert [one["id"] for one in watch(acme, lease_id).body["lost"]] == [lease_id]
    assert time.monotonic() - began < AT_ONCE_SECONDS


def test_a_notice_comes_once_to_who_says_what_they_have_seen(
    acme: Acme, pool: ThreadPoolExecutor
) -> None:
    lease_id = take(acme)
    answer = held(acme, pool, lease_id)
    acme.post(f"/sessions/{lease_id}/finish", {"text": "please"})
    (first,) = answer.result().body["notices"]
    assert (first["lease"], first["code"], first["text"]) == (lease_id, "finish", "please")
    assert watch(acme, lease_id).body["notices"] == [first]
    seen = {"id": lease_id, "seen": first["id"]}
    assert watch(acme, seen, wait=0.2).body == {"lost": [], "notices": []}
    answer = held(acme, pool, seen)
    acme.post(f"/sessions/{lease_id}/finish", {"text": "now"})
    (second,) = answer.result().body["notices"]
    assert second["text"] == "now"


def test_it_is_held_as_long_as_it_asks_and_extends_nothing(acme: Acme) -> None:
    lease_id = take(acme)
    began = time.monotonic()
    assert watch(acme, lease_id, wait=0.4).body == {"lost": [], "notices": []}
    assert 0.4 <= time.monotonic() - began < AT_ONCE_SECONDS


def test_nothing_is_held_for_leases_that_are_not_there(acme: Acme) -> None:
    lease_id = take(acme)
    began = time.monotonic()
    assert watch(acme, str(uuid.uuid4())).body == {"lost": [], "notices": []}
    assert watch(acme, lease_id, role="other").body == {"lost": [], "notices": []}
    assert time.monotonic() - began < AT_ONCE_SECONDS


def test_two_watches_of_one_lease_are_both_answered(acme: Acme, pool: ThreadPoolExecutor) -> None:
    lease_id = take(acme)
    first = held(acme, pool, lease_id)
    second = held(acme, pool, lease_id, str(uuid.uuid4()), lease_id)
    acme.post(f"/sessions/{lease_id}/end", {})
    assert len(first.result().body["lost"]) == 1
    assert second.result().body["lost"]


def test_a_drain_answers_all_and_the_daemon_does_not_wait(
    acme: Acme, pool: ThreadPoolExecutor
) -> None:
    answer = held(acme, pool, take(acme))
    began = time.monotonic()
    acme.daemon.signal(signal.SIGTERM)
    told = answer.result()
    assert (told.status, told.body) == (200, {"lost": [], "notices": []})
    assert told.headers["Connection"] == "close"
    assert acme.daemon.wait() == 0
    assert time.monotonic() - began < 2 * AT_ONCE_SECONDS


def test_a_watch_whose_client_has_gone_is_not_kept(acme: Acme) -> None:
    lease_id = take(acme)
    caller = acme.caller("admin")
    connection = caller.connect()
    body = json.dumps({"leases": [lease_id], "wait": 20})
    sent = {"Authorization": f"Bearer {caller.key}", "Content-Type": "application/json"}
    before = acme.daemon.script_calls("news")
    connection.request("POST", WATCH, body, sent)
    wait_until(lambda: acme.daemon.script_calls("news") > before, what="the watch to be held")
    connection.close()
    # It looks a last time, and that is its end.
    wait_until(
        lambda: acme.daemon.script_calls("news") > before + 1, AT_ONCE_SECONDS, "the watch to end"
    )


def test_what_is_wrong_is_named(acme: Acme) -> None:
    for body, field in (
        ({}, "leases"),
        ({"leases": []}, "leases"),
        ({"leases": ["x"]}, "leases[0]"),
        ({"leases": [{"id": str(uuid.uuid4()), "seen": 7}]}, "leases[0].seen"),
        ({"leases": [str(uuid.uuid4())] * 501}, "leases"),
        ({"leases": [str(uuid.uuid4())], "wait": -1}, "wait"),
    ):
        answer = acme.caller("admin").call("POST", WATCH, body)
        assert (answer.status, answer.code, answer.body["field"]) == (422, "invalid", field)
