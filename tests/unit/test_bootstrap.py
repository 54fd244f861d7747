"""Reading the bootstrap file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from lessor_daemon.bootstrap import GroupSpec, read_bootstrap
from lessor_daemon.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from lessor_daemon.bootstrap import Bootstrap

WHOLE = """
[[organization]]
slug = "acme"
name = "Acme Testing"
members = [{ email = "Ada@Example.com", role = "owner" }, { email = "bob@example.com" }]

[[organization.license]]
name = "kre"
kind = "floating"
seats = 5
machines = "unlimited"
ttl = "20s"
expires = 2030-01-01T00:00:00Z

[[organization.license]]
name = "studio"
kind = "named-user"
seats = 3

[[organization.key]]
name = "ci"
scopes = ["run"]
secret_file = "ci.key"

[[organization.key]]
name = "bob"
member = "bob@example.com"
scopes = ["run", "read"]
secret = "lsr_abc_def"
revoked = true
"""
KEY = '[[organization]]\nslug = "a"\n[[organization.key]]\nname = "ci"\n'
LICENSE = '[[organization]]\nslug = "a"\n[[organization.license]]\nname = "kre"\n'


def read(tmp_path: Path, text: str) -> Bootstrap:
    path = tmp_path / "acme.toml"
    path.write_text(text)
    return read_bootstrap(path, min_ttl_ms=5_000, max_ttl_ms=60_000)


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, text)
    return str(caught.value)


def test_the_whole_file_is_understood(tmp_path: Path) -> None:
    (acme,) = read(tmp_path, WHOLE).organizations
    assert (acme.slug, acme.name) == ("acme", "Acme Testing")
    assert [(one.email, one.role) for one in acme.members] == [
        ("ada@example.com", "owner"),
        ("bob@example.com", "member"),
    ]
    kre, studio = acme.licenses
    assert (kre.seats, kre.machines, kre.ttl_ms) == (5, None, 20_000)
    assert kre.expires == datetime(2030, 1, 1, tzinfo=UTC)
    assert (studio.kind, studio.machines, studio.ttl_ms, studio.expires) == (
        *("named-user", 3, 30_000),
        None,
    )
    ci, bob = acme.keys
    assert (ci.secret, ci.secret_file) == (None, tmp_path / "ci.key")
    assert (bob.secret, bob.member, bob.revoked) == ("lsr_abc_def", "bob@example.com", True)
    assert bob.scopes == {"run", "read"}


def test_a_key_file_that_exists_is_read(tmp_path: Path) -> None:
    (tmp_path / "ci.key").write_text("lsr_abc_def\n")
    found = read(tmp_path, KEY + 'secret_file = "ci.key"\n')
    assert found.organizations[0].keys[0].secret == "lsr_abc_def"


def test_a_key_does_not_show_its_secret(tmp_path: Path) -> None:
    assert "def" not in repr(read(tmp_path, KEY + 'secret = "lsr_abc_def"\n'))


def test_a_revoked_key_needs_no_secret(tmp_path: Path) -> None:
    found = read(tmp_path, KEY + "revoked = true\n")
    assert found.organizations[0].keys[0].secret is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[[organisation]]\n", "organisation"),
        ("organization = 3\n", "organization"),
        ("[[organization]]\n", "organization[0].slug"),
        ('[[organization]]\nslug = "{a}"\n', "organization[0].slug"),
        ('[[organization]]\nslug = "A"\n', "organization[0].slug"),
        ('[[organization]]\nslug = "a"\n[[organization]]\nslug = "a"\n', "organization[1].slug"),
        (
            '[[organization]]\nslug = "a"\nmembers = [{ email = "x" }]\n',
            "organization[0].members[0].email",
        ),
        (
            '[[organization]]\nslug = "a"\nmembers = [{ email = "jürgen@example.com" }]\n',
            "organization[0].members[0].email",
        ),
        (
            '[[organization]]\nslug = "a"\nmembers = [{ email = "x@y", role = "boss" }]\n',
            "organization[0].members[0].role",
        ),
        (LICENSE, "organization[0].license[0].seats"),
        (LICENSE + "seats = -1\n", "organization[0].license[0].seats"),
        (LICENSE + "seats = true\n", "organization[0].license[0].seats"),
        (LICENSE + 'seats = 1\nmachines = "all"\n', "organization[0].license[0].machines"),
        (LICENSE + 'seats = 1\nkind = "free"\n', "organization[0].license[0].kind"),
        (LICENSE + 'seats = 1\nttl = "4s"\n', "organization[0].license[0].ttl"),
        (LICENSE + 'seats = 1\nttl = "61s"\n', "organization[0].license[0].ttl"),
        (LICENSE + "seats = 1\nexpires = 2030-01-01\n", "organization[0].license[0].expires"),
        (LICENSE + "seats = 1\nseat = 1\n", "organization[0].license[0].seat"),
        (
            LICENSE + 'seats = 1\n[[organization.license]]\nname = "kre"\nseats = 1\n',
            "organization[0].license[1].name",
        ),
        (KEY, "organization[0].key[0].secret_file"),
        (KEY + 'secret = "lsr_a_b"\nsecret_file = "x"\n', "organization[0].key[0].secret"),
        (KEY + 'secret = "hunter2"\n', "organization[0].key[0].secret"),
        (KEY + 'secret = "lsr_a_b"\nscopes = ["operator"]\n', "organization[0].key[0].scopes"),
        (KEY + 'secret = "lsr_a_b"\nscopes = []\n', "organization[0].key[0].scopes"),
        (KEY + 'secret = "lsr_a_b"\nmember = "x@y"\n', "organization[0].key[0].member"),
        (KEY + 'secret_file = "."\n', "organization[0].key[0].secret_file"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, place: str) -> None:
    told = refusal(tmp_path, text)
    assert told.startswith(f"{tmp_path / 'acme.toml'}: {place}: ")
    assert "hunter2" not in told


@pytest.mark.parametrize("data", [b"a =", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "acme.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"acme\.toml: is not"):
        read_bootstrap(path, min_ttl_ms=5_000, max_ttl_ms=60_000)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_bootstrap(tmp_path / "none", min_ttl_ms=5_000, max_ttl_ms=60_000)


def test_the_groups_of_a_license_are_its_policy(tmp_path: Path) -> None:
    text = (
        LICENSE
        + """seats = 5
[[organization.license.group]]
name = "payments"
label = { team = "payments" }
head_start = "5m"
reserve = 2
cap = 4
[[organization.license.group]]
name = "nightly"
label = { branch = "main" }
"""
    )
    (license,) = read(tmp_path, text).organizations[0].licenses
    assert license.groups == (
        GroupSpec("payments", "team", "payments", 300_000, 2, 4),
        GroupSpec("nightly", "branch", "main", 0, 0, None),
    )


@pytest.mark.parametrize(
    ("group", "place"),
    [
        ('label = "payments"', "group[0].label"),
        ('label = { team = "a", branch = "b" }', "group[0].label"),
        ('label = { team = "a" }\ncap = 0', "group[0].cap"),
        ('label = { team = "a" }\ncap = 1\nreserve = 2', "group[0].cap"),
        ('label = { team = "a" }\nhead_start = "25h"', "group[0].head_start"),
        ('label = { team = "a" }\npriority = 1', "group[0].priority"),
    ],
)
def test_a_wrong_group_is_named_by_its_place(tmp_path: Path, group: str, place: str) -> None:
    text = f'{LICENSE}seats = 5\n[[organization.license.group]]\nname = "x"\n{group}\n'
    assert f"organization[0].license[0].{place}" in refusal(tmp_path, text)
