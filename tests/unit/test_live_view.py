"""The live view: what fits a screen, and what its lines say."""

from __future__ import annotations

from lessor import live, status_view

NOW = 1_767_268_860.0  # 2026-01-01T12:01:00Z
HOLDER = {
    "license": "kre",
    "granted_at": "2026-01-01T12:00:00Z",
    "machine": {"id": "m1", "name": "rig-1"},
    "process": {"user": "ada", "command": "pytest tests/ui"},
    "labels": {"job_url": "https://ci.example/7"},
    "seats": 2,
}
WAITER = {
    "position": 1,
    "user": "bob",
    "machine": "rig-2",
    "command": "pytest",
    "labels": {},
    "since": "2026-01-01T12:00:30Z",
    "seats": 1,
    "estimate": {"p50": 240.0, "p90": 720.0, "from": 20},
}


def found(**more: object) -> dict[str, object]:
    license = {"name": "kre", "seats": 2, "available": 0, "machines": 1, "machine_quota": 2}
    return {
        "organization": "acme",
        "url": "http://127.0.0.1:7420",
        "licenses": [{**license, "queue_length": 1, **more}],
        "leases": [HOLDER],
        "queues": {"kre": [WAITER]},
    }


def test_the_view_names_license_holders_and_the_line_with_positions() -> None:
    head, blank, license, holder, waiter = status_view.lines(found(), NOW)
    assert head.startswith("acme at http://127.0.0.1:7420")
    assert blank == ""
    assert license == "kre  0 of 2 seats free, machines 1/2"
    assert holder.split() == [
        *["runs", "ada", "rig-1", "1m", "2", "seats", "https://ci.example/7", "pytest", "tests/ui"]
    ]
    assert waiter.split() == ["1", "bob", "rig-2", "30s", "≈4m", "(12m)", "pytest"]


def test_those_who_are_not_shown_are_counted() -> None:
    assert status_view.lines(found(queue_length=9), NOW)[-1].strip() == "and 8 more wait"


def test_a_drained_license_says_so() -> None:
    assert "DRAINED" in status_view.lines(found(drained=True), NOW)[2]


def test_trouble_is_shown_beside_what_was_known() -> None:
    lines = status_view.lines({**found(), "trouble": "no answer"}, NOW)
    assert lines[1] == "no fresh answer: no answer"
    assert len(lines) == 6


def test_what_others_named_cannot_move_the_cursor() -> None:
    evil = {**WAITER, "user": "\x1b[2Jeve", "command": "\x1b]0;x\x07", "labels": {"branch": "\r\n"}}
    shown = "\n".join(status_view.lines({**found(), "queues": {"kre": [evil]}}, NOW))
    assert "\x1b" not in shown
    assert "\r" not in shown


def test_at_80_by_24_nothing_is_wider_or_higher() -> None:
    lines = [f"{number} " + "x" * 200 for number in range(60)]
    shown = live.fit(lines, 80, 24)
    assert len(shown) == 24
    assert max(len(line) for line in shown) == 80
    assert "37 more lines" in shown[-1]


def test_a_frame_never_scrolls_the_screen() -> None:
    drawn = live.frame(["a", "b"], 80, 2)
    assert drawn.count("\n") == 1
    assert not drawn.endswith("\n")


def test_a_term_that_ends_soon_is_told_of() -> None:
    expires = {"expires": "2026-01-08T00:00:00Z", "expires_in_days": 6}
    assert "expires" not in " ".join(status_view.lines(found(**expires), NOW))
    told = status_view.lines(found(**expires, reminder=7), NOW)[3]
    assert told.startswith("  kre expires in 6 days (2026-01-08T00:00:00Z): from then on nobody")
    for days, reminder, text in (
        (0, 1, "in less than a day"),
        (1, 7, "in 1 day"),
        (0, 0, "EXPIRED"),
    ):
        license = {"name": "kre", "expires_in_days": days, "reminder": reminder}
        assert text in status_view.reminder(license)
