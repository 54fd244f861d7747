"""``available = seats - (offline + online)``: the same number wherever it is shown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from support.command_line import Shell
from support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.administration import Acme

SEATS = 5


class Shown:
    """What each place says of one license."""

    def __init__(self, acme: Acme, directory: Path) -> None:
        self._acme = acme
        self._shell = Shell(directory, acme.daemon)

    def everywhere(self, license: str = "kre") -> dict[str, int]:
        """``available`` by where it is said; from seats and use where only those are."""
        status = self._shell.json("status")["licenses"]
        listed = self._acme.get("/licenses").body["items"]
        command = self._shell.json("license", "list")["items"]
        table = self._shell.text("license", "show", license)
        metrics = self._acme.daemon.anonymous().call("GET", "/metrics").body

        def metric(name: str) -> int:
            labels = rf'license="{license}",org="acme"'
            (found,) = re.findall(rf"^{name}\{{{labels}\}} (\S+)$", metrics, re.MULTILINE)
            return int(float(found))

        one = self._acme.license(license)
        return {
            "license": one["available"],
            "license, counted": one["seats"] - one["offline_seats"] - one["leases"],
            "license list": _of(listed, license),
            "lessor status": _of(status, license),
            "lessor license list": _of(command, license),
            "lessor license show": int(re.findall(r"available +(\d+)", table)[0]),
            "metrics": metric("lessor_seats")
            - metric("lessor_offline_seats")
            - metric("lessor_leases"),
        }

    def free(self) -> int:
        """How many more are granted, tried."""
        caller = self._acme.caller("run")
        held: list[str] = []
        while (answer := caller.acquire(machine={"id": f"try-{len(held)}"})).status == 201:
            held.append(answer.body["lease"]["id"])
        for lease_id in held:
            caller.release(lease_id)
        return len(held)


def _of(items: list[dict[str, int | str]], license: str) -> int:
    return next(int(one["available"]) for one in items if one["name"] == license)


def test_available_is_the_same_number_everywhere_and_so_many_are_granted(
    acme: Acme, tmp_path: Path
) -> None:
    acme.patch("/licenses/kre", {"seats": SEATS, "machines": "unlimited"})
    shown = Shown(acme, tmp_path)

    def agree_on(number: int) -> None:
        found = shown.everywhere()
        assert set(found.values()) == {number}, found
        assert shown.free() == number

    agree_on(SEATS)
    held = acme.held(seats=2)
    agree_on(SEATS - 2)
    island = {"license": "kre", "machine": "island", "seats": 2, "duration": 3600}
    acme.post("/offline", island)
    agree_on(SEATS - 4)
    acme.post(f"/sessions/{held}/end", {})
    agree_on(SEATS - 4)  # it is ending: its process still runs
    acme.caller("run").release(held)
    agree_on(SEATS - 2)
    serial = acme.post("/offline", {**island, "duration": 5}).body["offline"]["serial"]
    wait_until(
        lambda: (
            acme.get(f"/offline/{serial}").body["state"] == "expired"
            and acme.license()["offline_seats"] == 2
        ),
        30,
        "the short offline license to expire",
    )
    agree_on(SEATS - 2)


def test_of_a_named_user_license_it_counts_who_is_online(acme: Acme, tmp_path: Path) -> None:
    acme.post("/licenses/studio/registered-users", {"email": "mary@example.com"})
    shown = Shown(acme, tmp_path)
    assert set(shown.everywhere("studio").values()) == {2}, "registered is not online"
    lease_id = acme.held("member", "studio")
    assert set(shown.everywhere("studio").values()) == {1}
    other = acme.held("member", "studio", machine={"id": "laptop"})
    assert set(shown.everywhere("studio").values()) == {1}, "taken over: one user, one seat"
    for one in (lease_id, other):
        acme.caller("member").release(one)
    assert set(shown.everywhere("studio").values()) == {2}
