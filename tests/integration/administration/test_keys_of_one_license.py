"""A key for one license sees and touches nothing of the others, whichever call it makes."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from support.streaming import StreamCaller

if TYPE_CHECKING:
    from support.administration import Acme
    from support.calls import Caller

MARY = "mary@example.com"
IN_A_WEEK = f"{datetime.now(UTC) + timedelta(days=7):%Y-%m-%dT%H:%M:%SZ}"


class TwoLicenses:
    """Mary holds a seat of ``kre`` and one of ``extra``; two keys are for ``kre`` alone."""

    def __init__(self, acme: Acme) -> None:
        self.acme = acme
        acme.post("/licenses", {"name": "extra", "seats": 2})
        self.kre, self.extra = (
            acme.held("member", name, machine={"id": f"machine-of-{name}"})
            for name in ("kre", "extra")
        )
        _, self.service = acme.new_key(scopes=["run", "read"], license="kre")
        _, self.hers = acme.new_key(scopes=["run", "read"], license="kre", member=MARY)

    def items(self, caller: Caller, path: str) -> list[dict[str, object]]:
        """What a list shows."""
        answer = caller.call("GET", path)
        assert answer.status == 200, answer.body
        found: list[dict[str, object]] = answer.body["items"]
        return found

    def goes_on(self) -> bool:
        """Whether nothing has happened to the lease of the other license."""
        (renewed,) = self.acme.caller("member").renew(self.extra).body["renewed"]
        return bool(renewed == self.extra)


@pytest.fixture
def two(acme: Acme) -> TwoLicenses:
    """See there."""
    return TwoLicenses(acme)


def test_it_sees_only_the_leases_and_sessions_of_its_license(two: TwoLicenses) -> None:
    for caller in (two.service, two.hers):
        for path in ("/v1/leases", "/v1/orgs/acme/sessions"):
            assert [one["id"] for one in two.items(caller, path)] == [two.kre]
            assert caller.call("GET", f"{path}/{two.kre}").status == 200
            assert caller.call("GET", f"{path}/{two.extra}").code == "not_found"


def test_it_gives_back_and_ends_nothing_of_another_license(two: TwoLicenses) -> None:
    session = f"/v1/orgs/acme/sessions/{two.extra}"
    waiter = {"id": str(uuid.uuid4()), "wait": 60, "seats": 2}
    assert two.acme.caller("member").acquire("extra", **waiter).status == 202
    for caller in (two.service, two.hers):
        with StreamCaller(two.acme.daemon.url, caller.key) as stream:
            answers = [
                caller.release(two.extra),
                stream.release(two.extra),
                caller.release(str(waiter["id"])),
                caller.call("POST", f"{session}/end"),
                caller.call("POST", f"{session}/finish"),
            ]
        assert {(one.status, one.code) for one in answers} == {(404, "not_found")}
    assert two.goes_on()
    assert two.acme.license("extra")["queue_length"] == 1
    assert two.hers.release(two.kre).status == 204


def test_it_sees_only_the_machines_and_offline_licenses_of_its_license(two: TwoLicenses) -> None:
    serials = {}
    for name in ("kre", "extra"):
        wanted = {"license": name, "machine": f"machine-of-{name}", "expires": IN_A_WEEK}
        serials[name] = two.acme.post("/offline", wanted).body["offline"]["serial"]
    org = "/v1/orgs/acme"
    assert [one["id"] for one in two.items(two.service, f"{org}/machines")] == ["machine-of-kre"]
    assert [one["serial"] for one in two.items(two.service, f"{org}/offline")] == [serials["kre"]]
    for path in (f"{org}/machines/machine-of-", f"{org}/offline/"):
        mine, other = ("kre", "extra") if path.endswith("-") else (serials["kre"], serials["extra"])
        assert two.service.call("GET", f"{path}{mine}").status == 200
        assert two.service.call("GET", f"{path}{other}").code == "not_found"


def test_it_sees_of_a_machine_only_what_its_license_has_there(two: TwoLicenses) -> None:
    two.acme.held("member", "extra", machine={"id": "machine-of-kre"})
    found = two.service.call("GET", "/v1/orgs/acme/machines/machine-of-kre").body
    assert (found["licenses"], found["sessions"]) == (["kre"], 1)


@pytest.mark.parametrize("call", ["", "/queue", "/registered-users"])
def test_it_is_told_nothing_of_another_license_by_its_name(two: TwoLicenses, call: str) -> None:
    two.acme.post("/licenses", {"name": "desk", "kind": "named-user", "seats": 2})
    for name in ("extra", "desk", "none-such"):
        answer = two.service.call("GET", f"/v1/orgs/acme/licenses/{name}{call}")
        assert (answer.status, answer.code) == (403, "forbidden")
    for path in ("machines", "offline", "sessions", "sessions?state=past&x=y"):
        separator = "&" if "?" in path else "?"
        answer = two.service.call("GET", f"/v1/orgs/acme/{path}{separator}license=extra")
        assert (answer.status, answer.code) == (403, "forbidden")
