"""The administration's commands before any server: help, wrong usage, questions, completion."""

from __future__ import annotations

import argparse
import shlex
import subprocess
from importlib import import_module
from typing import TYPE_CHECKING

import pytest
from lessor import cli, exits
from lessor.admin import actions, terminal
from lessor.admin.actions import Action, Desk, explained
from lessor.completion import shells, words
from lessor.errors import UsageError
from lessor_protocol.errors import HTTP_STATUS, Problem
from support.documents import ROOT, blocks

if TYPE_CHECKING:
    from pathlib import Path

TOPICS = ("org", "member", "license", "key", "machine", "session", "offline", "audit")


def actions_of(topic: str) -> tuple[Action, ...]:
    found: tuple[Action, ...] = import_module(f"lessor.commands.{topic}").ACTIONS
    return found


ALL = [(topic, action) for topic in TOPICS for action in actions_of(topic)]
each_action = pytest.mark.parametrize(
    ("topic", "action"), ALL, ids=lambda one: one.name if isinstance(one, Action) else one
)


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = cli.main(arguments)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else -1
    out, err = capfd.readouterr()
    return code, out, err


@pytest.mark.parametrize("topic", TOPICS)
def test_help_lists_the_actions(topic: str, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capfd, topic, "--help")
    assert code == 0
    assert all(f"  {action.name} " in out for action in actions_of(topic))


@each_action
def test_every_action_has_help_and_answers_in_json(
    topic: str, action: Action, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capfd, topic, action.name, "--help")
    assert code == 0
    assert out.startswith(f"usage: lessor {topic} {action.name}")
    assert "--json" in out


@each_action
def test_what_destroys_can_be_tried_and_the_question_be_left_out(
    topic: str, action: Action
) -> None:
    text = action.parser(topic).format_help()
    names = {"remove", "revoke", "withdraw", "end", "return"}
    assert ("--dry-run" in text) == ("--yes" in text) == (action.name in names)


@each_action
def test_no_action_takes_a_key_as_an_argument(topic: str, action: Action) -> None:
    text = action.parser(topic).format_help()
    assert "--api-key" not in text
    assert "--secret" not in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("license",),
        ("license", "fly"),
        ("license", "add", "kre"),
        ("license", "add", "kre", "--seats", "many"),
        ("license", "set", "kre", "--expires", "soon"),
        ("license", "set", "kre", "--offline-allowed", "maybe"),
        ("member", "add", "a@b", "--role", "king"),
        ("key", "make", "ci", "--scope", "all"),
        ("session", "list", "--csv", "--jsonl"),
        ("machine", "list", "--limit", "-1"),
        ("offline", "issue", "--license", "kre", "--machine", "m"),
        ("offline", "issue", "--request", "r", "--expires", "1d", "--seats", "0"),
        ("offline", "request", "--seats", "0"),
    ],
)
def test_wrong_usage_is_78(arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capfd, *arguments)
    assert (code, out) == (exits.USAGE, "")
    assert f"lessor {arguments[0]}" in err


@pytest.mark.parametrize("code", sorted(HTTP_STATUS))
def test_every_refusal_has_an_exit_code_that_says_what_kind(code: str) -> None:
    error = explained(Problem(code, "why"), "license")
    expected = {
        "conflict": exits.DENIED,
        "precondition_failed": exits.DENIED,
        "quota_below_use": exits.DENIED,
        "lease_ended": exits.DENIED,
        "seats_exhausted": exits.NO_SEAT,
        "machines_exhausted": exits.NO_SEAT,
        "recovering": exits.NO_SEAT,
        "store_unavailable": exits.UNREACHABLE,
        "invalid": exits.USAGE,
        "forbidden": exits.DENIED,
        "not_found": exits.DENIED,
    }
    assert error.exit_code == expected.get(code, error.exit_code)
    assert str(error).startswith("why")


def test_a_refusal_says_what_to_do_next() -> None:
    assert "--force" in str(explained(Problem("quota_below_use", "2 in use"), "license"))
    assert "lessor key list" in str(explained(Problem("not_found", "no key"), "key"))
    nobody = explained(Problem("not_found", "no member"), "license", listed_by="member list")
    assert str(nobody) == "no member; lessor member list shows what there is"
    forbidden = Problem("forbidden", "only the operator's key may do that")
    assert "owner or an admin" in str(explained(forbidden, "offline"))
    by_operator = str(explained(forbidden, "offline", by_operator=True))
    assert "owner" not in by_operator
    assert "ask the operator" in by_operator
    hinted = Problem("seats_exhausted", "full", data={"hint": "end\x1b sessions"})
    assert str(explained(hinted, "offline")) == "full; end? sessions"


def desk(**options: bool) -> Desk:
    return Desk(argparse.Namespace(**options), {})


def deed() -> dict[str, object]:
    return {"removed": "x"}


def unwanted() -> dict[str, object]:
    raise AssertionError("it was done")


def test_where_nobody_can_be_asked_nothing_is_destroyed_without_yes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(UsageError, match="say --yes"):
        desk().destroy("Remove it?", dict, unwanted)
    assert desk(yes=True).destroy("Remove it?", dict, deed) == {"removed": "x"}


@pytest.mark.parametrize(("answer", "done"), [(True, {"removed": "x"}), (False, None)])
def test_on_a_terminal_the_answer_decides(
    answer: bool, done: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def confirm(question: str) -> bool:
        asked.append(question)
        return answer

    monkeypatch.setattr(terminal, "confirm", confirm)
    preview = {"sessions_ended": 2, "keys_revoked": 0}
    assert desk().destroy("Remove it?", lambda: dict(preview), deed) == done
    assert asked == ["Remove it? (2 sessions end)"]


def test_a_dry_run_asks_nobody_and_does_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    found = {"machines": ["a", "b"], "sessions_ended": 1}
    assert desk(dry_run=True).destroy("Remove?", lambda: dict(found), unwanted) is None
    assert capfd.readouterr().out == "would: remove (1 session ends, 2 machines: a, b)\n"


def test_the_completion_knows_every_command_action_and_option() -> None:
    places = words.places()
    assert {place.command for place in places} == set(cli.COMMANDS)
    named = {(place.command, place.action): place for place in places}
    assert set(words.actions_of(places)) == set(TOPICS)
    assert {"--offline", "--wait", "-n"} <= set(named["run", ""].options)
    assert {"--seats", "--expires", "--json"} <= set(named["license", "set"].options)
    assert named["member", "add"].choices == {"--role": ["owner", "admin", "member"]}
    assert {"--help", "--json"} <= set(named["status", ""].options)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["li"], ["license"]),
        (["member", ""], ["list", "show", "add", "set", "remove"]),
        (["member", "add", "x@y", "--role", "o"], ["owner"]),
        (["key", "rotate", "--ov"], ["--overlap"]),
        (["run", "--off"], ["--offline"]),
        (["run", "-n", "--", "pytest", "--off"], []),
        (["run", "file"], []),
    ],
)
def test_bash_completes(typed: list[str], offered: list[str], tmp_path: Path) -> None:
    script = tmp_path / "lessor.bash"
    script.write_text(shells.bash(words.places()))
    line = " ".join(f"'{word}'" for word in ["lessor", *typed])
    steps = [
        f"source {script}",
        f"COMP_WORDS=({line})",
        f"COMP_CWORD={len(typed)}",
        "_lessor",
        'echo "${COMPREPLY[@]}"',
    ]
    shown = subprocess.run(
        ["bash", "-c", "; ".join(steps)], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == offered


@pytest.mark.parametrize("shell", sorted(shells.SHELLS))
def test_every_script_names_every_action(shell: str) -> None:
    script = shells.SHELLS[shell](words.places())
    for topic, action in ALL:
        assert topic in script
        assert action.name in script


def test_every_command_of_the_document_is_one() -> None:
    told = set()
    for block in blocks(ROOT / "docs" / "administration.md", "sh"):
        for line in block.text.splitlines():
            _, command, *rest = shlex.split(line)
            if command in TOPICS:
                action = next(one for one in actions_of(command) if one.name == rest[0])
                action.parser(command).parse_args(rest[1:])
            elif command != "run":
                import_module(f"lessor.commands.{command}").make_parser().parse_args(rest)
            told.add(command)
    assert set(TOPICS) <= told


@pytest.mark.parametrize("text", ["", "-1", "1.5", "٣", "1" * 10])
def test_a_number_is_written_in_plain_digits(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        actions.count(text)


def test_a_dry_run_says_what_would_be_done_and_leaves_names_as_they_are() -> None:
    assert actions._deed("Remove the license KRE?") == "remove the license KRE"
    asked = "Withdraw S from Ada@x? An online session ends at once."
    expected = "withdraw S from Ada@x; an online session ends at once"
    assert actions._deed(asked) == expected


@pytest.mark.parametrize(
    ("coming", "said"),
    [
        ({"sessions_ended": 1, "keys_revoked": 1}, "1 session ends, 1 key is revoked"),
        ({"sessions_ended": 2, "keys_revoked": 3}, "2 sessions end, 3 keys are revoked"),
        ({"machines": ["one"], "sessions_ended": 0}, "1 machine: one"),
        ({"machines": [], "sessions_ended": 0}, "0 machines"),
        ({"machines": list("abcdefghij")}, "10 machines: a, b, c, d, e, f, g, h, i, j"),
        (
            {"machines": list("abcdefghijkl")},
            "12 machines: a, b, c, d, e, f, g, h, i, j and 2 more",
        ),
    ],
)
def test_one_is_not_many(
    coming: dict[str, object], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(argparse.Namespace(dry_run=True), {})
    desk.destroy("Remove it?", lambda: coming, dict)
    assert capfd.readouterr().out == f"would: remove it ({said})\n"
