"""``lessor status``, ``acquire`` and ``release`` against a real daemon."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from support.daemon import clean_environ
from support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemon import DaemonProcess


def lessor(
    daemon: DaemonProcess, directory: Path, *arguments: str, key: str = "ci"
) -> subprocess.CompletedProcess[str]:
    environ = {
        "LESSOR_URL": daemon.url,
        "LESSOR_API_KEY": daemon.key(key),
        "XDG_RUNTIME_DIR": str(directory),
    }
    return subprocess.run(
        [sys.executable, "-m", "lessor", *arguments],
        env=clean_environ(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_an_acquired_seat_shows_in_the_status_until_it_is_released(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    with subprocess.Popen(["sleep", "300"]) as worker:
        try:
            acquired = lessor(daemon, tmp_path, "acquire", "--while-pid", str(worker.pid))
            assert acquired.returncode == 0, acquired.stderr
            lease = json.loads(acquired.stdout)
            table = lessor(daemon, tmp_path, "status").stdout.splitlines()
            released = lessor(daemon, tmp_path, "release", lease["id"])
            again = lessor(daemon, tmp_path, "release", lease["id"])
        finally:
            worker.kill()
    assert table[0] == f"acme at {daemon.url}, key ci"
    assert table[2].split()[:6] == ["LICENSE", "KIND", "SEATS", "AVAILABLE", "LEASES", "OFFLINE"]
    assert table[3].split()[:5] == ["kre", "floating", "2", "1", "1"]
    assert table[5].split() == ["LICENSE", "USER", "MACHINE", "COMMAND", "FOR", "ID"]
    assert re.search(r"sleep 300  \d+s ", table[6])
    assert table[6].endswith(lease["id"])
    assert (released.returncode, again.returncode) == (0, 0)
    status = json.loads(lessor(daemon, tmp_path, "status", "--json").stdout)
    assert status["organization"] == "acme"
    assert status["leases"] == []
    assert status["licenses"][0]["available"] == 2


def test_the_end_of_the_watched_process_frees_the_seat_on_the_daemon(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    with subprocess.Popen(["sleep", "300"]) as worker:
        acquired = lessor(daemon, tmp_path, "acquire", "--while-pid", str(worker.pid))
        assert acquired.returncode == 0, acquired.stderr
        worker.kill()
    wait_until(
        lambda: not daemon.caller().call("GET", "/v1/leases").body["items"], what="a free seat"
    )


def test_the_certificate_is_never_shown(daemon: DaemonProcess, tmp_path: Path) -> None:
    daemon.caller().acquire()
    shown = json.loads(lessor(daemon, tmp_path, "status", "--json").stdout)
    assert len(shown["leases"]) == 1
    assert "certificate" not in shown["leases"][0]


def test_a_key_that_may_not_or_is_revoked_or_expired_is_77(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    for key in ("reader", "gone", "old"):
        done = lessor(daemon, tmp_path, "acquire", "-n", "-l", "kre", key=key)
        assert done.returncode == 77, (key, done.stderr)
        assert done.stderr.startswith("lessor: ")
        assert daemon.key(key) not in done.stderr


def test_a_license_that_does_not_exist_is_77(daemon: DaemonProcess, tmp_path: Path) -> None:
    done = lessor(daemon, tmp_path, "acquire", "-n", "-l", "nothing")
    assert done.returncode == 77
    assert "nothing" in done.stderr


def test_a_seat_of_another_organization_is_not_released(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    lease_id = daemon.caller().acquire().body["lease"]["id"]
    done = lessor(daemon, tmp_path, "release", lease_id, key="other")
    assert done.returncode == 77
    assert len(daemon.caller().call("GET", "/v1/leases").body["items"]) == 1
