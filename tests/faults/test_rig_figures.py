"""The figures of the rig, on made-up histories: what counts, and what is left out."""

from __future__ import annotations

from faults.rig import comeback, figures, table
from faults.rig.history import (
    ABSENT,
    ACQUIRE,
    GRANTED,
    LOOK,
    PRESENT,
    RECOVERING,
    RELEASE,
    RELEASED,
    RENEW,
    RENEWED,
    Asked,
    Fault,
    History,
    Outage,
    Ran,
    Reading,
)
from faults.rig.plan import EMBEDDED, REDIS

TTL, MARGIN = 3.0, 1.0


def ask(lease: str, verb: str, answered: float, outcome: str, client: str = "path-0") -> Asked:
    ttl = TTL if outcome in (GRANTED, RENEWED) else 0.0
    return Asked(client, verb, lease, "kre", "m", answered - 0.01, answered, outcome, ttl=ttl)


def run(lease: str, ended: float, how: str, *touched: str) -> Ran:
    return Ran(lease, "kre", "m", 1, 0.0, ended, how=how, touched=touched)


def history(*asked: Asked, topology: str = REDIS, **more: object) -> History:
    found = History(TTL, MARGIN, asked=list(asked), topology=topology)
    for name, value in more.items():
        setattr(found, name, value)
    return found


def rounded(values: list[float]) -> list[float]:
    return [round(value, 3) for value in values]


def test_healthy_processes_that_a_fault_cost_count_only_where_it_came_alone() -> None:
    kill = Fault("daemon-kill", "daemon", 10, 11, "daemon 0")
    killed = run("a", 12, "lost")
    alone = history(ran=[killed, run("b", 12, "lost", "agent SIGSTOP")], faults=[kill])
    assert comeback.hurt(alone) == {"daemon-kill": (1, 1)}
    cut = Fault("path-cut", "path", 9, 12, "port 1")
    assert comeback.hurt(history(ran=[killed], faults=[kill, cut])) == {}


def test_what_no_lease_need_outlive_is_counted_apart() -> None:
    killed, kill = run("a", 12, "lost"), Fault("store-kill", "store", 10, 11, "node-0")
    found = history(ran=[killed], faults=[kill], outages=[Outage(10, 10 + TTL * 0.4)])
    assert comeback.hurt(found) == {"store-kill": (1, 1)}
    found.outages = [Outage(10, 10 + TTL * 0.6)]
    assert comeback.hurt(found) == {"store-kill" + comeback.BEYOND: (1, 1)}
    found.outages = [Outage(1, 1 + TTL), Outage(10, 10.5)]
    assert comeback.hurt(found) == {"store-kill": (1, 1)}


def test_renewals_again_is_measured_on_each_path_from_the_first_write() -> None:
    asked = [ask("a", RENEW, 9.5, RENEWED), ask("b", RENEW, 7.5, RENEWED, "probe-worker-201")]
    asked += [ask("a", RENEW, 11.2, RENEWED), ask("b", RENEW, 11.5, RENEWED, "probe-worker-201")]
    asked += [ask("c", RENEW, 12.5, RENEWED, "path-2")]
    found = history(*asked, outages=[Outage(10, 11)])
    assert rounded(comeback.renewals_again(found)) == [0.2, 0.5]
    found.outages = [Outage(8, 11)]
    assert not comeback.renewals_again(found), "no lease outlives that"


def test_an_answer_that_another_fault_kept_back_is_not_counted() -> None:
    asked = [ask("a", RENEW, 9.5, RENEWED), ask("a", RENEW, 11.9, RENEWED)]
    found = history(*asked, outages=[Outage(10, 11)])
    found.faults = [Fault("path-slow", "path", 11, 13, "port 1")]
    assert not comeback.renewals_again(found)
    found.faults = [Fault("path-reset", "path", 11, 11, "port 1")]
    assert rounded(comeback.renewals_again(found)) == [0.9]
    found.outages.append(Outage(11.1, 11.4))
    assert rounded(comeback.renewals_again(found)) == [0.5]


def test_a_recovery_that_begins_anew_counts_from_where_the_lease_clock_went_back() -> None:
    found = history(ask("a", ACQUIRE, 19.1, GRANTED), outages=[Outage(9, 10)])
    found.readings = [Reading(10.1, 4_000), Reading(12, 5_900), Reading(13, 5_000)]
    assert rounded(comeback.grants_again(found)) == [6.1]


def test_new_grants_are_judged_by_the_store() -> None:
    grants = [ask("a", ACQUIRE, 16, GRANTED)]
    external = history(*grants, outages=[Outage(9, 10)], recovery=5.0)
    values = table.Measured.of(external).values
    assert rounded(values[table.GRANTS_OTHER]) == [1.0]
    assert not values[table.GRANTS_EMBEDDED]
    embedded = history(*grants, outages=[Outage(9, 10)], recovery=5.0, topology=EMBEDDED)
    assert rounded(table.Measured.of(embedded).values[table.GRANTS_EMBEDDED]) == [6.0]


def test_an_agent_is_at_home_elsewhere_once_it_is_answered_again() -> None:
    kill = Fault("daemon-kill", "daemon", 10.0, 11.0, "daemon 0")
    next_kill = Fault("daemon-kill", "daemon", 13.5, 14.0, "daemon 1")
    asked = [
        ask("moved", RENEW, 9.9, RENEWED),
        ask("moved", RENEW, 12.0, RENEWED, "path-1"),
        ask("not there", RENEW, 9.9, RENEWED, "path-1"),
        ask("not there", RENEW, 12.0, RENEWED, "path-1"),
    ]
    ran = [run("moved", 20, "done"), run("not there", 20, "done")]
    found = comeback.at_home_elsewhere(history(*asked, ran=ran, faults=[kill, next_kill]))
    # The next renewal was due 0.675 s after the last was sent.
    assert rounded(found) == [round(12.0 - (9.89 + 0.675), 3)]


def test_a_seat_is_given_back_by_whichever_of_agent_and_leash_lives() -> None:
    faults = [Fault("agent-kill", "run", 5.0, 5.0, "a"), Fault("leash-kill", "run", 6.0, 6.0, "b")]
    ran = [run("a", 5, "exit -9", "agent SIGKILL"), run("b", 6, "exit 125", "leash SIGKILL")]
    asked = [ask("a", RELEASE, 5.3, RELEASED), ask("b", RELEASE, 6.1, RELEASED)]
    assert rounded(figures.given_back(history(*asked, ran=ran, faults=faults))) == [0.3, 0.1]
    done = [run("a", 4.9, "done", "agent SIGKILL"), ran[1]]
    found = figures.given_back(history(*asked, ran=done, faults=faults))
    assert rounded(found) == [0.1], "the kill did not set the first one free"
    faults.append(Fault("forget", "store", 4.0, 4.5))
    assert not figures.given_back(history(*asked, ran=ran, faults=faults)), "nor their key is known"


def test_what_is_past_its_deadline_is_split_into_held_to_it_and_excused() -> None:
    asked = [ask(name, ACQUIRE, 0.01, GRANTED) for name in "abc"]
    ran = [
        run("a", 2.9, "lost"),
        run("b", 3.5, "lost", "whole tree SIGSTOP"),
        run("c", 1.0, "lost"),
    ]
    found = history(*asked, ran=ran)
    assert rounded(figures.past_deadline(found)) == [-0.1]
    assert rounded(figures.past_deadline(found, excused=True)) == [0.5]


def test_an_abandoned_seat_is_timed_by_the_lease_clock() -> None:
    asked = [ask("a", ACQUIRE, 1.01, GRANTED)]
    asked += [ask("a", LOOK, 8.8, PRESENT), ask("a", LOOK, 8.9, ABSENT)]
    # The clock stood still for four of these seconds.
    readings = [Reading(0.9, 100_000), Reading(2.0, 101_000), Reading(9.0, 104_100)]
    found = history(*asked, readings=readings)
    assert rounded(figures.abandoned(found)) == [4.1]
    unheard = Asked("path-0", RENEW, "a", "kre", "m", 3.0)
    assert not figures.abandoned(history(*asked, unheard, readings=readings)), "it may have counted"
    waits = ask("b", ACQUIRE, 5.0, RECOVERING)
    assert not figures.abandoned(history(*asked, waits, readings=readings))
    assert not figures.abandoned(history(*asked, readings=[*readings[:2], Reading(9.5, 104_100)]))
    assert not figures.abandoned(history(*asked, readings=[Reading(0.5, 99_600), *readings[2:]]))
    found.outages = [Outage(2.0, 4.0)]
    assert figures.abandoned(found), "it took writes again before anything was due"
    found.outages = [Outage(2.0, 5.0)]
    assert not figures.abandoned(found), "it could free nothing"
    found.outages = []
    found.faults = [Fault("forget", "store", 2, 3)]
    assert not figures.abandoned(found)


def test_an_abandoned_seat_that_nobody_could_look_at_meanwhile_is_left_out() -> None:
    asked = [ask("a", ACQUIRE, 1.01, GRANTED), ask("a", LOOK, 2.0, PRESENT)]
    asked += [ask("a", LOOK, 8.8, "store_unavailable"), ask("a", LOOK, 8.9, ABSENT)]
    found = history(*asked, readings=[Reading(0.9, 0), Reading(9.0, 8_100)])
    assert not figures.abandoned(found)


def test_several_runs_make_one_table() -> None:
    both = table.Measured({table.RENEWALS: [0.1]}, {"failover": (1, 0)})
    both.add(table.Measured({table.RENEWALS: [0.3]}, {"failover": (2, 1)}))
    text = "\n".join(table.lines(both))
    assert "| healthy processes killed by failover | 0 | | 1 | | 3 |" in text
    assert "| p99 ≤ 1 s | 300 ms | 300 ms | 300 ms | 2 |" in text
