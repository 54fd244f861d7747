"""What goes wrong in ``lessor run`` itself: never does its command run on without a seat."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trustme
from support.fake_server import CUT, WELL
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.fake_server import FakeServer
    from support.lessor_run import Run

    Start = Callable[..., Run]

LESSOR_FAILED = 125
NOT_FOUND = 127
TWO = "sleep 1000 & sleep 1000"


@pytest.mark.parametrize("error", ["UsageError", "Denied", "ZeroDivisionError"])
def test_an_error_of_our_own_stops_the_whole_tree_and_gives_the_seat_back(
    start: Start, server: FakeServer, tmp_path: Path, error: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import lessor.server\n"
        "from lessor.errors import *\n"
        "def renew(*_):\n"
        f"    raise {error}('what no renewal should raise')\n"
        "lessor.server.Server.renew = renew\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    run = start("-l", "kre", "--", "sh", "-c", TWO, environ={"PYTHONPATH": path})
    run.wait_for_tree(3)
    (was_known,) = server.leases
    assert run.wait() == LESSOR_FAILED
    assert not run.survivors()
    assert f"lessor failed: {error}: what no renewal should raise" in run.stderr
    wait_until(lambda: server.ended.get(was_known), what="the release")


def test_certificates_that_are_gone_cost_no_seat_while_another_url_may_answer_again(
    start: Start, server: FakeServer, tmp_path: Path
) -> None:
    server.ttl_ms = 10_000
    certificates = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(certificates))
    run = start(
        *("-l", "kre", "--", "sh", "-c", TWO),
        url=f"{server.url},https://127.0.0.1:1",
        environ={"SSL_CERT_FILE": str(certificates)},
    )
    run.wait_for_tree(3)
    certificates.unlink()
    server.mode = CUT
    assert "ca.pem" in run.event("renew_failed")["reason"]
    server.mode = WELL
    asked = server.count("renew")
    wait_until(lambda: server.count("renew") > asked + 1, what="renewals after the outage")
    assert run.process.poll() is None
    assert len(run.survivors()) == 3
    os.kill(run.agent, 15)
    assert run.wait() == 128 + 15
    assert not server.leases


def test_a_leash_without_certificates_says_that_nobody_took_the_seat_back(
    start: Start, tmp_path: Path
) -> None:
    gone = tmp_path / "gone.pem"
    (tmp_path / "sitecustomize.py").write_text(
        "import lessor.server\n"
        "from lessor.errors import UsageError\n"
        "def release(*_):\n"
        f"    raise UsageError('{gone} cannot be read')\n"
        "lessor.server.Server.release = release\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    run = start("-l", "kre", "--", "sh", "-c", TWO, environ={"PYTHONPATH": path})
    run.wait_for_tree(3)
    os.kill(run.agent, 9)
    run.wait()
    run.dead_after()
    wait_until(lambda: "no server took the seat back" in run.stderr, what="the leash to say so")
    assert "the leash failed" not in run.stderr


@pytest.mark.parametrize(
    ("begin", "said"),
    [
        (b"#!/no/such/interpreter -x\n", "its interpreter '/no/such/interpreter' is missing"),
        (b"#! /bin/sh\r\necho\r\n", "its interpreter '/bin/sh\\r' is missing"),
    ],
)
def test_a_script_whose_interpreter_is_missing_is_not_said_to_be_missing_itself(
    start: Start, server: FakeServer, tmp_path: Path, begin: bytes, said: str
) -> None:
    script = tmp_path / "script.sh"
    script.write_bytes(begin)
    script.chmod(0o755)
    run = start("-l", "kre", "--", "./script.sh", cwd=tmp_path)
    assert run.wait() == NOT_FOUND
    assert f"lessor: ./script.sh: {said}\n" in run.stderr
    assert not server.leases
