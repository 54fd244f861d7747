"""``lessor run -N 2..8 -- pytest -n $LESSOR_COUNT``: as many workers as there are seats."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from support.daemon import clean_environ

if TYPE_CHECKING:
    from support.daemon import MakeDaemon

BIN = Path(sys.executable).parent
SEATS, TAKEN = 5, 2
BOOTSTRAP = f"""
[[organization]]
slug = "acme"
[[organization.license]]
name = "kre"
seats = {SEATS}
ttl = "60s"
[[organization.key]]
name = "ci"
scopes = ["run", "read"]
secret_file = "ci.key"
"""
SUITE = """
import os
from pathlib import Path

import pytest

@pytest.mark.parametrize("number", range(24))
def test_one(number):
    name = os.environ["PYTEST_XDIST_WORKER"]
    Path(__file__).with_name("worker-" + name).touch()
    assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == os.environ["LESSOR_COUNT"]
"""


def test_pytest_has_a_worker_for_each_seat_that_is_free(
    make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    daemon = make_daemon(bootstrap=BOOTSTRAP)
    daemon.start()
    ci = daemon.caller()
    holder = str(uuid.uuid4())
    assert ci.acquire(id=holder, seats=TAKEN).status == 201
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "pytest.ini").write_text("[pytest]\n")
    (suite / "test_suite.py").write_text(SUITE)
    # Without the plugins of this project's own tests, which four processes would have to load.
    pytest = f"{sys.executable} -m pytest -q -p xdist -p no:cacheprovider -n $LESSOR_COUNT"
    environ = {
        "LESSOR_URL": daemon.url,
        "LESSOR_API_KEY": daemon.key(),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    ran = subprocess.run(
        [BIN / "lessor", "run", "-N", "2..8", "--", "sh", "-c", pytest],
        cwd=suite,
        env=clean_environ(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "24 passed" in ran.stdout
    workers = sorted(path.name for path in suite.glob("worker-*"))
    assert workers == [f"worker-gw{number}" for number in range(SEATS - TAKEN)]
    left = {lease["id"] for lease in ci.call("GET", "/v1/leases").body["items"]}
    assert left <= {holder}, "all its seats are back"
