"""The small model of clock, deadlines and recovery, searched breadth-first.

With all rules nothing is found; with one left out, two clients hold the one seat (or another law
breaks) within some steps. ``docs/model.md`` says what is shown and what is not.
``LESSOR_MODEL_STATES`` searches further than a quick run does.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from models.exhaustive import explore
from models.small_state import RESURRECTION, TOKEN_WENT_BACK, TWO_HOLDERS, Faults
from models.small_store import DURABLE, NEW, Constants, Rules
from models.small_world import GRANTED, UNHEARD, Scenario

if TYPE_CHECKING:
    from models.exhaustive import Found

MOST_STATES = int(os.environ.get("LESSOR_MODEL_STATES", "5000"))
MOST_TO_A_BREACH = 40_000

BARE_NUMBERS = Rules(epoch_at_least_the_hour=False)
"""Epochs whose numbers may be the same: what decides leases must not need the wall clock."""
STALE = Constants(failover=1)
STALE_FOR_LONG = Constants(failover=2)

SCENARIOS = {
    "two daemons": Scenario(Faults(), lets_go=False),
    "slow answers": Scenario(Faults(slow=1), daemons=1, lets_go=False),
    "slow and late messages": Scenario(Faults(slow=1, late=1), daemons=1),
    "late messages": Scenario(Faults(late=1)),
    "an emptied store": Scenario(Faults(emptied=1), start=GRANTED),
    "emptied, all forgotten": Scenario(Faults(emptied=1, forget=2), start=GRANTED),
    "emptied, durable": Scenario(Faults(emptied=1), start=GRANTED, trust=DURABLE),
    "emptied, new": Scenario(Faults(emptied=1, remember=1), start=GRANTED, trust=NEW),
    "a copy put back": Scenario(
        Faults(copies=1, restores=1), start=GRANTED, daemons=1, trust=DURABLE
    ),
    "a copy put back, a restart": Scenario(
        Faults(copies=1, restores=1, remember=1), start=GRANTED, daemons=1, trust=DURABLE
    ),
    "restarts": Scenario(Faults(restarts=1, remember=1, late=1), start=GRANTED, trust=DURABLE),
    "a failover": Scenario(Faults(copies=1, failovers=1), daemons=1),
    "a failover with late messages": Scenario(Faults(failovers=1, late=1, slow=1), daemons=1),
    "a failover, a grant unheard": Scenario(Faults(failovers=1), daemons=1, start=UNHEARD),
    "a failover, an answer on its way": Scenario(
        Faults(failovers=1, slow=1), daemons=1, lets_go=False
    ),
    "three clients": Scenario(Faults(failovers=1), clients=3, daemons=1, start=GRANTED),
    "a stale master": Scenario(Faults(copies=1, failovers=1), daemons=1, constants=STALE),
    "a stale master, cut off with its own": Scenario(
        Faults(failovers=1), constants=STALE, is_split=True, lets_go=False
    ),
    "a stale master and a holder": Scenario(
        Faults(failovers=1), constants=STALE_FOR_LONG, is_split=True, start=GRANTED, lets_go=False
    ),
    "two failovers": Scenario(
        Faults(failovers=2), is_split=True, rules=BARE_NUMBERS, orders_tokens=False, lets_go=False
    ),
    "a wall clock that jumps": Scenario(Faults(wall_jumps=1), start=GRANTED),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_with_all_rules_no_law_is_broken(name: str) -> None:
    found = search(SCENARIOS[name], MOST_STATES)
    assert not found.breach, str(found)
    assert found.states > 100


@pytest.mark.parametrize(
    ("rules", "name", "breach"),
    [
        ("deadline_from_request", "slow answers", TWO_HOLDERS),
        ("claim_capped", "two daemons", TWO_HOLDERS),
        ("cap_in_claim", "slow answers", TWO_HOLDERS),
        ("lease_clock", "a wall clock that jumps", TWO_HOLDERS),
        ("late_reply_revives_nothing", "emptied, durable", TWO_HOLDERS),
        ("unseen_release_remembered", "late messages", RESURRECTION),
        ("grace", "emptied, durable", TWO_HOLDERS),
        ("whole_grace", "a stale master, cut off with its own", TWO_HOLDERS),
        ("grace_outlasts_leases", "a failover, a grant unheard", TWO_HOLDERS),
        ("acquire_waits_for_recovery", "a failover, a grant unheard", TWO_HOLDERS),
        ("highest_epoch_carried", "emptied, durable", TWO_HOLDERS),
        ("highest_epoch_carried", "emptied, new", TWO_HOLDERS),
        ("clock_that_went_back_is_seen", "a copy put back", TWO_HOLDERS),
        ("epoch_at_least_the_hour", "an emptied store", TOKEN_WENT_BACK),
        ("lapsed_stays_lost late_reply_revives_nothing", "slow and late messages", TWO_HOLDERS),
    ],
)
def test_without_this_rule_a_law_is_broken(rules: str, name: str, breach: str) -> None:
    found = search(SCENARIOS[name].without(*rules.split()), MOST_TO_A_BREACH)
    assert found.breach == breach, str(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rules", "name"),
    [
        ("failover_in_margin", "a stale master and a holder"),
        ("stale_master_bounded", "a stale master, cut off with its own"),
        ("epoch_is_a_pair clock_that_went_back_is_seen", "two failovers"),
    ],
)
def test_without_this_rule_two_hold_the_seat_after_a_long_search(rules: str, name: str) -> None:
    scenario = SCENARIOS[name].without(*rules.split())._replace(orders_tokens=False)
    found = search(scenario, 100_000)
    assert found.breach == TWO_HOLDERS, str(found)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("lapsed_stays_lost", "emptied, durable"),
        ("old_replies_dropped", "a failover, an answer on its way"),
    ],
)
def test_this_rule_alone_is_backed_by_others(rule: str, name: str) -> None:
    """Searched to the end: nothing breaks without it, as ``docs/model.md`` explains."""
    found = search(SCENARIOS[name].without(rule), MOST_TO_A_BREACH)
    assert found.is_complete
    assert not found.breach, str(found)


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(Faults(emptied=1, forget=1), daemons=1, start=GRANTED, trust=DURABLE),
        Scenario(Faults(emptied=1, forget=1), daemons=1, start=GRANTED, trust=NEW),
        Scenario(Faults(copies=1, restores=1, forget=1), daemons=1, trust=DURABLE),
    ],
    ids=["emptied, held for durable", "emptied, held for new", "put back, held for durable"],
)
def test_a_daemon_that_knows_nothing_lets_two_hold_the_seat_of_a_store_it_trusts(
    scenario: Scenario,
) -> None:
    """A hole: nobody is left who could say that the store has forgotten."""
    found = search(scenario, MOST_TO_A_BREACH)
    assert found.breach == TWO_HOLDERS, str(found)


def search(scenario: Scenario, most_states: int) -> Found:
    found = explore(scenario.initial(), scenario.successors, most_states=most_states)
    print(found)  # pytest shows it with -s or -rP
    return found
