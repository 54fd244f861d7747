"""A short run of the rig on each small topology, and mutants that must not get past it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from faults.rig import mutants, plan, report
from faults.rig.rig import Load, Rig
from faults.rig.service import judge

if TYPE_CHECKING:
    from pathlib import Path

SEED = int(os.environ.get("SEED", "1"))
SECONDS = 25.0
LOAD = Load(agents=8, workers=1, clients=10, fleets=1, fleet=300)
QUICK = ("no tombstone", "one seat too many")


@pytest.mark.parametrize("topology", plan.TOPOLOGIES)
def test_a_plan_is_the_same_for_the_same_seed(topology: str) -> None:
    drawn = plan.draw(SEED, 60, topology)
    assert drawn == plan.draw(SEED, 60, topology)
    assert drawn != plan.draw(SEED + 1, 60, topology)
    assert drawn == sorted(drawn, key=lambda step: step.at)


def test_only_the_wanted_nemeses_are_drawn() -> None:
    drawn = plan.draw(SEED, 60, plan.EMBEDDED, ["agent-kill", "path"])
    assert {step.kind for step in drawn} & {"path-cut", "path-slow", "path-reset"}
    assert all(step.kind == "agent-kill" or step.target == "path" for step in drawn)
    with pytest.raises(ValueError, match="no nemesis"):
        plan.draw(SEED, 60, plan.EMBEDDED, ["rollback"])


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("topology", [plan.EMBEDDED, plan.REDIS])
def test_whatever_fails_the_promise_is_kept(topology: str, tmp_path: Path) -> None:
    steps = plan.draw(SEED, SECONDS, topology)
    history = Rig(tmp_path, topology, steps, seconds=SECONDS, seed=SEED, load=LOAD).run()
    history.save(tmp_path / "history.jsonl")
    assert history.faults
    assert any(run.is_process for run in history.ran)
    violations = judge(history)
    report.write(tmp_path, topology, history, violations, wall_seconds=SECONDS)
    assert violations == [], f"see {tmp_path}"


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", QUICK)
def test_a_product_with_a_broken_rule_is_caught(name: str, tmp_path: Path) -> None:
    (mutant,) = (one for one in mutants.MUTANTS if one.name == name)
    verdict = mutants.try_out(mutant, tmp_path, seed=SEED)
    assert verdict.is_caught, verdict.violations


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_the_text_that_a_mutant_replaces_is_still_there(
    mutant: mutants.Mutant, tmp_path: Path
) -> None:
    assert mutants.make_sources(mutant, tmp_path)
