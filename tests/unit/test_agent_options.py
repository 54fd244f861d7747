"""The arguments of ``lessor run``."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lessor.agent import narrator
from lessor.agent.options import HELP, parse
from lessor.errors import UsageError


def test_what_follows_the_double_dash_is_the_command_as_it_stands() -> None:
    assert parse(["--", "a", "--", "-q"]).command == ["a", "--", "-q"]


def test_the_double_dash_may_be_left_out_before_a_plain_command() -> None:
    options = parse(["-q", "pytest", "-x", "--wait"])
    assert options.command == ["pytest", "-x", "--wait"]
    assert options.level == narrator.QUIET


def test_defaults() -> None:
    options = parse(["--", "true"])
    assert options.wait_ms is None
    assert options.kill_after_ms == 5_000
    assert options.connect_timeout_ms == 30_000
    assert options.stop_signal == signal.SIGTERM
    assert options.ephemeral is None
    assert options.no_seat_code is None
    assert not options.warn_on_lost


@pytest.mark.parametrize(
    "spelling",
    [["-l", "kre"], ["-lkre"], ["-l=kre"], ["--license", "kre"], ["--license=kre"]],
)
def test_values_may_be_joined_or_apart(spelling: list[str]) -> None:
    assert parse([*spelling, "--", "true"]).license == "kre"


def test_short_flags_may_be_joined() -> None:
    options = parse(["-nql", "kre", "true"])
    assert (options.wait_ms, options.level, options.license) == (0, narrator.QUIET, "kre")


def test_no_wait_is_wait_zero() -> None:
    assert parse(["-n", "x"]).wait_ms == parse(["-w", "0", "x"]).wait_ms == 0


@pytest.mark.parametrize("name", ["INT", "SIGINT", "int", "2"])
def test_signals_have_several_spellings(name: str) -> None:
    assert parse(["-s", name, "x"]).stop_signal == signal.SIGINT


def test_all_the_rest() -> None:
    options = parse(
        [
            "--label",
            "a=b=c",
            "--label",
            "d=",
            "-m",
            "m-1",
            "--ephemeral",
            "--nested",
            "-v",
            "--on-lost",
            "warn",
            "-k",
            "1.5s",
            "--connect-timeout",
            "1m",
            "-E",
            "3",
            "--events-fd",
            "7",
            "-N",
            "1",
            "true",
        ]
    )
    assert options.labels == {"a": "b=c", "d": ""}
    assert options.machine == "m-1"
    assert options.ephemeral is True
    assert options.nested
    assert options.level == narrator.VERBOSE
    assert options.warn_on_lost
    assert options.kill_after_ms == 1_500
    assert options.connect_timeout_ms == 60_000
    assert options.no_seat_code == 3
    assert options.events_fd == 7


@pytest.mark.parametrize(
    "argv",
    [
        ["-E", "256", "x"],
        ["-E", "-1", "x"],
        ["--events-fd", "one", "x"],
        ["--quiet=yes", "x"],
        ["-l", "", "x"],
        ["-l", "a\nb", "x"],
        ["--label", f"a={'x' * 257}", "x"],
        ["--label", "=b", "x"],
        ["--seats", "4..2", "x"],
        ["--seats", "0", "x"],
        ["--seats", "2..", "x"],
        ["-x", "x"],
        ["--wai", "1", "x"],
    ],
)
def test_nonsense_is_wrong_usage(argv: list[str]) -> None:
    with pytest.raises(UsageError, match="lessor run --help"):
        parse(argv)


@given(st.lists(st.text(max_size=8), max_size=6))
def test_whatever_is_typed_is_either_understood_or_wrong_usage(argv: list[str]) -> None:
    try:
        options = parse(argv)
    except UsageError:
        return
    assert options.command or options.help


def test_help_names_every_option() -> None:
    assert parse(["--help"]).help
    for option in ("--license", "--wait", "--no-wait", "--signal", "--kill-after", "--on-lost"):
        assert option in HELP
