"""The dry run of a policy, as an admin asks for it."""

from __future__ import annotations

import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

from support.daemon import clean_environ

if TYPE_CHECKING:
    from pathlib import Path

    from support.administration import Acme

TRY = "/licenses/kre/policy/try"
FAST = {"name": "fast", "label": {"team": "fast"}, "reserve": 1}


def live_a_little(acme: Acme) -> None:
    """Two sessions, and one that waited for the first of them."""
    first, _second = acme.held(), acme.held()
    waiting = str(uuid.uuid4())
    run = acme.caller("run")
    team = {"team": "fast"}
    assert run.acquire(id=waiting, wait=60, labels=team).status == 202
    run.release(first)
    assert run.acquire(id=waiting, wait=60, labels=team).status == 201
    run.release(waiting)


def test_a_dry_run_shows_waits_before_and_after_and_changes_nothing(acme: Acme) -> None:
    live_a_little(acme)
    before = acme.license()
    found = acme.post(TRY, {"policy": [FAST], "seats": 3}).body
    assert (found["seats"], found["tried_seats"]) == (2, 3)
    assert [found[one]["sessions"] for one in ("recorded", "replayed", "tried")] == [3, 3, 3]
    assert found["recorded"]["most"] > 0
    assert found["tried"]["most"] == 0, "with three seats nobody waits"
    assert [group["name"] for group in found["tried"]["groups"]] == ["", "fast"]
    assert acme.license() == before


def test_a_dry_run_needs_something_to_try(acme: Acme) -> None:
    assert acme.post(TRY, {}).code == "invalid"
    assert acme.post(TRY, {"policy": [{"name": "x"}]}).body["field"] == "policy[0].label"
    assert acme.post(TRY, {"seats": 1}, role="member").code == "forbidden"


def test_the_command_line_sets_tries_and_clears_a_policy(acme: Acme, tmp_path: Path) -> None:
    live_a_little(acme)
    file = tmp_path / "policy.toml"
    file.write_text('[[group]]\nname = "fast"\nlabel = { team = "fast" }\nhead_start = "5m"\n')
    environ = clean_environ(
        {"LESSOR_URL": acme.daemon.url, "LESSOR_API_KEY": acme.daemon.key("owner")}
    )

    def lessor(*words: str) -> str:
        shown = subprocess.run(
            [sys.executable, "-m", "lessor", "license", *words],
            env=environ,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return shown.stdout

    tried = lessor("policy", "kre", "--try", str(file), "--seats", "3")
    assert "with 3 as tried" in tried
    assert any(line.split()[:2] == ["fast", "1"] for line in tried.splitlines())
    assert acme.license()["policy"] == []
    assert "fast" in lessor("policy", "kre", "--file", str(file))
    assert acme.license()["policy"][0]["head_start"] == 300
    assert "no policy" in lessor("policy", "kre", "--clear")
    assert "nobody new" in lessor("drain", "kre")
    assert acme.license()["drained"] is True
    lessor("drain", "kre", "--undo")
    assert acme.license()["drained"] is False
