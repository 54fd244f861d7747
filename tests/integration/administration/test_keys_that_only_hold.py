"""A key that has expired or was revoked keeps and gives back what was taken with it, no more."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from support.calls import Caller
from support.streaming import StreamCaller

if TYPE_CHECKING:
    from support.administration import Acme

LONG_AGO = "2020-01-01T00:00:00Z"
WAYS = ("expired", "finishing", "revoked")


def end(acme: Acme, key_id: str, way: str) -> None:
    """Have a key come to its end."""
    if way == "expired":
        assert acme.patch(f"/keys/{key_id}", {"expires": LONG_AGO}).status == 200
    else:
        ending = "true" if way == "revoked" else "false"
        assert acme.delete(f"/keys/{key_id}?end_sessions={ending}").status == 200


@pytest.mark.parametrize("way", WAYS)
def test_an_admins_key_that_only_holds_ends_nothing_of_others(acme: Acme, way: str) -> None:
    key_id, admin = acme.new_key()
    others = acme.held("run")
    with StreamCaller(acme.daemon.url, admin.key) as stream:
        end(acme, key_id, way)
        answers = [admin.release(others), stream.release(others)]
    assert [(one.status, one.code) for one in answers] == [(403, "forbidden")] * 2
    assert acme.caller("run").renew(others).body["renewed"] == [others]


@pytest.mark.parametrize("way", WAYS)
def test_who_waits_is_sent_away_by_no_key_that_only_holds(acme: Acme, way: str) -> None:
    key_id, admin = acme.new_key()
    acme.held("run"), acme.held("run")
    waiter = str(uuid.uuid4())
    assert acme.caller("run").acquire(id=waiter, wait=60).status == 202
    end(acme, key_id, way)
    assert admin.release(waiter).code == "forbidden"
    assert acme.caller("run").acquire(id=waiter, wait=60).body["position"] == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_members_key_that_only_holds_ends_nothing_that_was_taken_with_another(
    acme: Acme, way: str
) -> None:
    key_id, old = acme.new_key(scopes=["run"], member="mary@example.com")
    mine = old.acquire().body["lease"]["id"]
    others = acme.held("member")
    end(acme, key_id, way)
    assert old.release(others).code == "forbidden"
    assert old.release(mine).status == 204
    assert old.release(mine).status == 204, "also when repeated"
    assert acme.caller("member").renew(others).body["renewed"] == [others]


def test_a_place_in_line_is_given_up_with_the_key_that_took_it(acme: Acme) -> None:
    acme.held("run"), acme.held("run")
    key_id, caller = acme.new_key(scopes=["run"])
    waiter = str(uuid.uuid4())
    assert caller.acquire(id=waiter, wait=60).status == 202
    end(acme, key_id, "finishing")
    assert caller.release(waiter).status == 204
    assert acme.license()["queue_length"] == 0


def test_a_key_that_expires_while_it_is_in_use_ends_nothing_of_others(acme: Acme) -> None:
    key_id, admin = acme.new_key()
    others, mine = acme.held("run"), admin.acquire().body["lease"]["id"]
    end(acme, key_id, "expired")
    assert Caller(acme.daemon.url, admin.key).renew(mine).body["renewed"] == [mine]
    assert admin.release(others).code == "forbidden"
