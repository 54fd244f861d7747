"""Which key may do what, and what the others are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.command_line import Shell

OK, DENIED = 0, 77
ALL = {"owner", "admin", "member", "colleague", "run", "read", "service"}
ADMINS = {"owner", "admin", "service"}
ALLOWED = {
    ("org", "list"): ALL | {"operator"},
    ("org", "show"): ALL,
    ("member", "list"): ADMINS | {"read"},
    ("license", "list"): ALL,
    ("license", "show", "kre"): ALL,
    ("license", "users", "studio"): ADMINS | {"read"},
    ("key", "list"): ALL - {"run"},
    ("machine", "list"): ADMINS | {"read"},
    ("session", "list"): ALL - {"run"},
    ("offline", "list"): ADMINS | {"read"},
    ("audit", "list"): ADMINS,
    ("license", "set", "kre", "--product", "Katalon"): ADMINS,
    ("license", "remove", "kre", "--dry-run"): ADMINS,
    ("member", "remove", "mick@example.com", "--dry-run"): ADMINS,
    ("org", "remove", "other", "--dry-run"): {"operator"},
}


@pytest.mark.parametrize("role", sorted(ALL | {"operator"}))
def test_each_role_may_what_it_may_and_is_told_what_to_do_otherwise(
    role: str, shell: Shell
) -> None:
    for command, roles in ALLOWED.items():
        done = shell.with_key(role).run(*command)
        expected = OK if role in roles else DENIED
        assert done.returncode == expected, (command, done.stdout, done.stderr)
        if expected == DENIED:
            assert done.stdout == ""
            assert done.stderr.startswith("lessor: ")
            assert ";" in done.stderr or "takes a key" in done.stderr, done.stderr


@pytest.mark.parametrize(
    "command",
    [("offline", "rotate"), ("backup", "all.json"), ("org", "create", "x", "--owner", "a@b.c")],
)
def test_who_is_not_the_operator_is_sent_to_the_operator(
    command: tuple[str, ...], shell: Shell
) -> None:
    said = shell.refused(DENIED, *command)
    assert "operator.key" in said
    assert "owner" not in said
