"""Each invariant of the rig, on made-up histories: one that keeps it, and ones that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.rig import invariants, service
from faults.rig.history import (
    ABSENT,
    ACQUIRE,
    GRANTED,
    LOOK,
    LOST,
    QUEUED,
    RELEASE,
    RELEASED,
    RENEW,
    RENEWED,
    Asked,
    Fault,
    History,
    Limit,
    Ran,
    Rest,
    Stall,
)

if TYPE_CHECKING:
    from pathlib import Path

    from faults.rig.invariants import Violation

TTL = 3.0
MARGIN = 1.0


def history(
    *,
    ran: list[Ran] | None = None,
    asked: list[Asked] | None = None,
    faults: list[Fault] | None = None,
    limits: list[Limit] | None = None,
    rest: list[Rest] | None = None,
) -> History:
    return History(
        TTL,
        MARGIN,
        ran or [],
        asked or [],
        faults or [],
        limits or [Limit("kre", 0.0, 1, None)],
        rest or [],
    )


def run(lease: str, began: float, ended: float, **more: object) -> Ran:
    fields = {"license": "kre", "machine": "m1", "token": 1, **more}
    return Ran(lease, began=began, ended=ended, **fields)  # type: ignore[arg-type]  # by keyword


def ask(lease: str, verb: str, sent: float, outcome: str, **more: object) -> Asked:
    fields = {"license": "line", "machine": "m1", "answered": sent + 0.01, **more}
    if outcome in (GRANTED, RENEWED):
        fields = {"ttl": TTL, **fields}
    return Asked("c", verb, lease, sent=sent, outcome=outcome, **fields)  # type: ignore[arg-type]  # by keyword


def probed(asked: list[Asked], *moments: float) -> list[Asked]:
    probes = [Asked("probe-0", RENEW, "p", "probe", "p", m, m + 0.01, RENEWED) for m in moments]
    return [*asked, *probes]


def numbers(found: list[Violation]) -> list[int]:
    return [one.invariant for one in found]


# (1) ---------------------------------------------------------------------------------------------


def test_runs_that_only_touch_share_a_seat() -> None:
    kept = history(ran=[run("a", 0, 5), run("b", 5, 9)])
    assert not invariants.seats_and_machines(kept)


def test_a_run_that_was_killed_at_its_first_stamp_does_not_run_on() -> None:
    kept = history(ran=[run("a", 1, 1), run("b", 2, 5), run("c", 6, 9)])
    assert not invariants.seats_and_machines(kept)


def test_one_run_too_many_is_seen() -> None:
    broken = history(ran=[run("a", 0, 5), run("b", 4.9, 9)])
    assert numbers(invariants.seats_and_machines(broken)) == [1]


def test_who_holds_several_seats_counts_for_several() -> None:
    limits = [Limit("kre", 0, 3, None)]
    two = run("a", 0, 5, seats=2)
    assert not invariants.seats_and_machines(history(ran=[two, run("b", 1, 4)], limits=limits))
    broken = history(ran=[two, run("b", 1, 4, seats=2)], limits=limits)
    assert numbers(invariants.seats_and_machines(broken)) == [1]


def test_a_group_beyond_its_cap_is_seen() -> None:
    limits = [Limit("kre", 0, 5, None)]
    kept = history(ran=[run("a", 0, 5, team="batch"), run("b", 1, 4)], limits=limits)
    kept.caps = {"kre": ("batch", 1)}
    assert not invariants.seats_and_machines(kept)
    kept.ran.append(run("c", 2, 3, team="batch"))
    assert numbers(invariants.seats_and_machines(kept)) == [1]


def test_what_nobody_can_prevent_is_excused_by_name_and_nothing_else() -> None:
    holes = [run("a", 0, 9, touched=("agent+leash SIGKILL",)), run("b", 1, 4)]
    assert not invariants.seats_and_machines(history(ran=holes))
    others = [run("a", 0, 9, touched=("agent SIGKILL",)), run("b", 1, 4)]
    assert numbers(invariants.seats_and_machines(history(ran=others))) == [1]


def test_a_limit_that_was_lowered_lets_the_running_finish() -> None:
    limits = [Limit("kre", 0, 2, None), Limit("kre", 4, 1, None)]
    runs = [run("a", 0, 9), run("b", 3, 8)]
    assert not invariants.seats_and_machines(history(ran=runs, limits=limits))
    late = [run("a", 5, 9), run("b", 6, 8)]
    assert numbers(invariants.seats_and_machines(history(ran=late, limits=limits))) == [1]


def test_one_machine_too_many_is_seen() -> None:
    limits = [Limit("kre", 0, 5, 1)]
    same = [run("a", 0, 5), run("b", 1, 9)]
    assert not invariants.seats_and_machines(history(ran=same, limits=limits))
    other = [run("a", 0, 5), run("b", 1, 9, machine="m2")]
    assert numbers(invariants.seats_and_machines(history(ran=other, limits=limits))) == [1]


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = history(
        ran=[run("a", 0, 5, touched=("agent SIGKILL",))],
        asked=[ask("a", ACQUIRE, 0, GRANTED, token=1)],
        faults=[Fault("agent-kill", "run", 1, 1, "a")],
        rest=[Rest("kre", 0, 0, 0, 0)],
    )
    written.caps = {"kre": ("batch", 1)}
    written.save(tmp_path / "history.jsonl")
    assert History.load(tmp_path / "history.jsonl") == written


# (2) ---------------------------------------------------------------------------------------------


def test_a_process_may_run_until_the_deadline_of_its_last_answered_request() -> None:
    asked = [ask("a", ACQUIRE, 0, GRANTED), ask("a", RENEW, 1, RENEWED)]
    assert not invariants.deadlines(history(ran=[run("a", 0.1, 4.0)], asked=asked))


def test_a_process_that_outlives_its_deadline_is_seen() -> None:
    asked = [ask("a", ACQUIRE, 0, GRANTED), ask("a", RENEW, 1, "", answered=None)]
    broken = history(ran=[run("a", 0.1, 3.2)], asked=asked)
    assert numbers(invariants.deadlines(broken)) == [2]


def test_a_machine_that_gave_no_turns_is_allowed_for_up_to_the_margin() -> None:
    asked = [ask("a", ACQUIRE, 0, GRANTED)]
    late = history(ran=[run("a", 0.1, TTL + 0.4)], asked=asked)
    late.stalls = [Stall(TTL - 0.2, TTL + 0.2)]
    assert not invariants.deadlines(late)
    late.stalls = [Stall(1.0, 1.4)]
    assert numbers(invariants.deadlines(late)) == [2], "long before the deadline"
    beyond = history(ran=[run("a", 0.1, TTL + MARGIN + 0.1)], asked=asked)
    beyond.stalls = [Stall(TTL - 0.2, TTL + 2.0)]
    assert numbers(invariants.deadlines(beyond)) == [2]


# (3) ---------------------------------------------------------------------------------------------


def test_tokens_may_come_in_any_order_from_grants_that_overlapped() -> None:
    asked = [
        ask("a", ACQUIRE, 0, GRANTED, token=8, answered=2),
        ask("b", ACQUIRE, 1, GRANTED, token=7, answered=3),
    ]
    assert not invariants.tokens(history(asked=asked))


def test_a_token_that_goes_back_or_comes_twice_is_seen() -> None:
    back = [ask("a", ACQUIRE, 0, GRANTED, token=8), ask("b", ACQUIRE, 1, GRANTED, token=7)]
    assert numbers(invariants.tokens(history(asked=back))) == [3]
    twice = [ask("a", ACQUIRE, 0, GRANTED, token=8), ask("b", ACQUIRE, 1, GRANTED, token=8)]
    assert 3 in numbers(invariants.tokens(history(asked=twice)))


# (4) ---------------------------------------------------------------------------------------------


def test_a_repeated_acquire_has_the_same_token() -> None:
    good = [ask("a", ACQUIRE, 0, GRANTED, token=8), ask("a", ACQUIRE, 1, GRANTED, token=8)]
    assert not invariants.one_seat_an_id(history(asked=good))
    bad = [ask("a", ACQUIRE, 0, GRANTED, token=8), ask("a", ACQUIRE, 1, GRANTED, token=9)]
    assert numbers(invariants.one_seat_an_id(history(asked=bad))) == [4]


def test_what_was_released_stays_released() -> None:
    over = [ask("a", ACQUIRE, 0, GRANTED, token=8), ask("a", RELEASE, 1, RELEASED)]
    late = ask("a", ACQUIRE, 2, "lease_ended", late=True)
    assert not invariants.one_seat_an_id(history(asked=[*over, late]))
    late = ask("a", ACQUIRE, 2, GRANTED, token=8, late=True)
    assert numbers(invariants.one_seat_an_id(history(asked=[*over, late]))) == [4]


def test_what_comes_after_the_memory_of_ends_is_not_judged() -> None:
    over = [ask("a", ACQUIRE, 0, GRANTED, token=8), ask("a", RELEASE, 1, RELEASED)]
    late = ask("a", ACQUIRE, 2, GRANTED, token=8, answered=1 + TTL + MARGIN + 1, late=True)
    assert not invariants.one_seat_an_id(history(asked=[*over, late]))


def test_only_a_late_renewal_is_excused_where_the_store_forgot() -> None:
    over = [ask("a", ACQUIRE, 0, GRANTED, token=8), ask("a", RELEASE, 1, RELEASED)]
    faults = [Fault("rollback", "store", 1, 2)]
    renewal = ask("a", RENEW, 3, RENEWED, late=True)
    assert not invariants.one_seat_an_id(history(asked=[*over, renewal], faults=faults))
    acquire = ask("a", ACQUIRE, 3, GRANTED, token=8, late=True)
    found = invariants.one_seat_an_id(history(asked=[*over, acquire], faults=faults))
    assert numbers(found) == [4]


# (5) ---------------------------------------------------------------------------------------------


def steady_waiter(until: float) -> list[Asked]:
    return [ask("w", ACQUIRE, i * 0.5, QUEUED) for i in range(int(until * 2) + 1)]


def test_who_came_first_may_have_been_offered_a_seat_that_it_has_not_claimed_yet() -> None:
    asked = [*steady_waiter(2), ask("w", ACQUIRE, 2.5, GRANTED), ask("b", ACQUIRE, 2.1, GRANTED)]
    assert not service.first_come_first_served(history(asked=asked))


def test_barging_past_a_live_waiter_is_seen() -> None:
    asked = [*steady_waiter(4), ask("b", ACQUIRE, 2.1, GRANTED)]
    assert numbers(service.first_come_first_served(history(asked=asked))) == [5]


def test_who_stopped_asking_has_no_place() -> None:
    asked = [
        ask("w", ACQUIRE, 0, QUEUED),
        ask("b", ACQUIRE, 2, GRANTED),
        ask("w", ACQUIRE, 4, QUEUED),
    ]
    assert not service.first_come_first_served(history(asked=asked))


def test_whose_question_hung_in_a_frozen_daemon_has_no_place() -> None:
    hung = ask("w", ACQUIRE, 1, QUEUED, answered=9)
    asked = [ask("w", ACQUIRE, 0, QUEUED), hung, ask("b", ACQUIRE, 2, GRANTED, answered=8)]
    again = ask("w", ACQUIRE, 9.1, QUEUED)
    assert not service.first_come_first_served(history(asked=[*asked, again]))


# (6) ---------------------------------------------------------------------------------------------


def test_what_is_left_at_rest_is_seen() -> None:
    assert not service.rest(history(rest=[Rest("kre", 0, 0, 0, 0)]))
    assert numbers(service.rest(history(rest=[Rest("kre", 0, 1, 0, 0)]))) == [6]


# (7) ---------------------------------------------------------------------------------------------


def test_a_lease_lost_after_a_long_disturbance_is_nobodys_fault() -> None:
    asked = probed([ask("a", ACQUIRE, 0, GRANTED)], 0, 0.1, 3.0, 3.1)
    assert not service.patience(history(ran=[run("a", 0.1, 2.9, how="lost")], asked=asked))


def test_an_answer_that_came_too_late_after_a_long_disturbance_does_not_hide_it() -> None:
    late = ask("a", RENEW, 2.6, RENEWED, answered=2.7)
    asked = probed([ask("a", ACQUIRE, 0, GRANTED), late], 0, 0.1, 2.6, 2.7, 2.8, 2.9)
    assert not service.patience(history(ran=[run("a", 1.9, 2.8, how="lost")], asked=asked))


def test_a_lease_lost_on_a_path_that_was_well_is_seen() -> None:
    asked = probed([ask("a", ACQUIRE, 0, GRANTED)], *(i / 10 for i in range(40)))
    broken = history(ran=[run("a", 0.1, 2.9, how="lost")], asked=asked)
    assert numbers(service.patience(broken)) == [7]


# (8) ---------------------------------------------------------------------------------------------


def test_a_freed_seat_goes_to_a_live_waiter_soon() -> None:
    freed = [ask("a", ACQUIRE, 0, GRANTED, token=1), ask("a", RELEASE, 1, RELEASED, token=1)]
    waiting = probed([*freed, *steady_waiter(6)], *(i / 10 for i in range(70)))
    assert numbers(service.promptness(history(asked=waiting))) == [8]
    met = [*waiting, ask("b", ACQUIRE, 0.5, GRANTED, answered=1.1)]
    assert not service.promptness(history(asked=met))


def test_a_seat_that_was_offered_to_one_who_is_silent_may_come_later() -> None:
    freed = [ask("a", ACQUIRE, 0, GRANTED, token=1), ask("a", RELEASE, 1, RELEASED, token=1)]
    waiting = probed([*freed, *steady_waiter(6)], *(i / 10 for i in range(70)))
    silent = [ask("c", ACQUIRE, 0.2, QUEUED), ask("c", ACQUIRE, 4.5, QUEUED)]
    assert not service.promptness(history(asked=[*waiting, *silent]))
    soon = [ask("c", ACQUIRE, 0.2, QUEUED), ask("c", ACQUIRE, 0.6, QUEUED)]
    assert numbers(service.promptness(history(asked=[*waiting, *soon]))) == [8]


# (9) ---------------------------------------------------------------------------------------------


def test_a_seat_that_lapses_after_its_deadline_is_well() -> None:
    asked = [ask("a", ACQUIRE, 0, GRANTED), ask("a", LOOK, 4, ABSENT)]
    assert not service.lease_clock(history(asked=asked))


def test_a_seat_that_is_free_before_its_deadline_is_seen() -> None:
    looked = [ask("a", ACQUIRE, 0, GRANTED), ask("a", LOOK, 2.5, ABSENT)]
    assert numbers(service.lease_clock(history(asked=looked))) == [9]
    told = [ask("a", ACQUIRE, 0, GRANTED), ask("a", RENEW, 2.5, LOST, reason="lapsed")]
    assert numbers(service.lease_clock(history(asked=told))) == [9]


def test_a_lease_that_an_admin_ended_or_its_client_gave_back_has_not_lapsed() -> None:
    ended = [ask("a", ACQUIRE, 0, GRANTED), ask("a", RENEW, 1, LOST, reason="an admin ended it")]
    released = [ask("b", ACQUIRE, 0, GRANTED), ask("b", RELEASE, 1, RELEASED)]
    released.append(ask("b", LOOK, 1.5, ABSENT))
    assert not service.lease_clock(history(asked=[*ended, *released]))
