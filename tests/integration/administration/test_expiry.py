"""What ends by the wall clock alone: offline licenses and terms, with a reminder before."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from support.command_line import Shell
from support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.administration import Acme


def test_an_offline_license_gives_its_seats_back_when_it_expires(acme: Acme) -> None:
    body = {"license": "kre", "machine": "island", "seats": 2, "duration": 2}
    serial = acme.post("/offline", body).body["offline"]["serial"]
    assert acme.caller("run").acquire().code == "seats_exhausted"
    wait_until(lambda: acme.caller("run").acquire().status == 201, 10, "the seats to be free")
    assert acme.get(f"/offline/{serial}").body["state"] == "expired"
    assert acme.license()["offline_seats"] == 0


def test_the_sweep_frees_it_also_when_nobody_asks(acme: Acme) -> None:
    body = {"license": "kre", "machine": "island", "duration": 1}
    acme.post("/offline", body)
    wait_until(lambda: acme.license()["available"] == 2, 20, "the sweep")


def test_a_license_that_expires_soon_is_told_of_in_log_metric_and_list(acme: Acme) -> None:
    soon = datetime.now(UTC) + timedelta(days=6, hours=1)
    shown = acme.patch("/licenses/kre", {"expires": soon.isoformat()}).body
    assert shown["expires_in_days"] == 6
    (line,) = wait_until(lambda: acme.daemon.events("license_expires"), 20, "the reminder")
    assert (line["org"], line["license"], line["days"]) == ("acme", "kre", 6)
    metrics = acme.daemon.anonymous().call("GET", "/metrics").body
    assert 'lessor_license_expires_timestamp_seconds{license="kre",org="acme"}' in metrics


def test_lessor_status_reminds_30_7_and_1_days_ahead(acme: Acme, tmp_path: Path) -> None:
    shell = Shell(tmp_path, acme.daemon)
    for ahead, reminder, text in (
        (timedelta(days=31), None, ""),
        (timedelta(days=30), 30, "kre expires in 29 days ("),
        (timedelta(days=7), 7, "kre expires in 6 days ("),
        (timedelta(days=1), 1, "kre expires in less than a day ("),
        (timedelta(seconds=-1), 0, "kre EXPIRED ("),
    ):
        acme.patch("/licenses/kre", {"expires": (datetime.now(UTC) + ahead).isoformat()})
        license = json.loads(shell.run("status", "--json").stdout)["licenses"][0]
        assert (license["name"], license.get("reminder")) == ("kre", reminder)
        table = shell.run("status").stdout
        assert (text in table) if text else ("kre expires" not in table)


def test_an_idle_machine_lapses_after_its_retention(acme: Acme) -> None:
    acme.patch("/licenses/kre", {"machine_retention": 1})
    lease_id = acme.held(machine={"id": "m1"})
    acme.caller("run").release(lease_id)
    wait_until(lambda: acme.get("/machines").body["items"] == [], 20, "the sweep")
