"""The small model of clock, deadlines and recovery, searched breadth-first.

With all rules nothing is found; with one left out, two clients hold the one seat (or another law
breaks) within a few steps. ``docs/model.md`` says what is shown and what is not.
"""

from __future__ import annotations

import pytest

from models.exhaustive import explore
from models.small_state import RESURRECTION, TOKEN_WENT_BACK, TWO_HOLDERS, Faults
from models.small_store import DURABLE
from models.small_world import GRANTED, Scenario

SCENARIOS = {
    "late messages": Scenario(Faults(late=1)),
    "an emptied store": Scenario(Faults(emptied=1, late=1), start=GRANTED),
    "an emptied durable store": Scenario(Faults(emptied=1), start=GRANTED, trust=DURABLE),
    "a copy put back": Scenario(
        Faults(copies=1, restores=1), start=GRANTED, daemons=1, trust=DURABLE
    ),
    "a failover": Scenario(Faults(copies=1, failovers=1), start=GRANTED, daemons=1),
    "restarted daemons": Scenario(Faults(restarts=1, forget=1), start=GRANTED),
    "a wall clock that jumps": Scenario(Faults(wall_jumps=1), start=GRANTED),
}
MOST_STATES = 20_000


@pytest.mark.parametrize("name", SCENARIOS)
def test_with_all_rules_no_law_is_broken(name: str) -> None:
    scenario = SCENARIOS[name]
    found = explore(scenario.initial(), scenario.successors, most_states=MOST_STATES)
    print(found)
    assert not found.breach, str(found)
    assert found.states > 100


@pytest.mark.parametrize(
    ("rule", "name", "breach"),
    [
        ("claim_capped", "late messages", TWO_HOLDERS),
        ("grace", "an emptied store", TWO_HOLDERS),
        ("highest_epoch_carried", "an emptied durable store", TWO_HOLDERS),
        ("late_reply_revives_nothing", "an emptied durable store", TWO_HOLDERS),
        ("clock_that_went_back_is_seen", "a copy put back", TWO_HOLDERS),
        ("lease_clock", "a wall clock that jumps", TWO_HOLDERS),
        ("unseen_release_remembered", "late messages", RESURRECTION),
        ("epoch_at_least_the_hour", "an emptied store", TOKEN_WENT_BACK),
    ],
)
def test_without_this_rule_a_law_is_broken(rule: str, name: str, breach: str) -> None:
    scenario = SCENARIOS[name].without(rule)
    found = explore(scenario.initial(), scenario.successors, most_states=MOST_STATES)
    print(found)
    assert found.breach == breach
