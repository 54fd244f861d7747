"""The command line: dispatch, exit codes, and how little it loads."""

import subprocess
import sys

import lessor
import pytest
from lessor import cli, errors, exits
from lessor.arguments import Parser, add_lease_options
from lessor_protocol.errors import HTTP_STATUS
from lessor_protocol.lease import EXPIRED, UNREACHABLE


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = cli.main(arguments)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else -1
    out, err = capfd.readouterr()
    return code, out, err


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LESSOR_URL", "LESSOR_API_KEY", "LESSOR_API_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")


def test_help_lists_every_command(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capfd, "--help")
    assert (code, err) == (0, "")
    assert all(f"  {name} " in out for name in cli.COMMANDS)


def test_the_version_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(capfd, "--version") == (0, "lessor 0.1.0\n", "")
    code, out, _ = run(capfd, "version")
    assert code == 0
    assert out.startswith("lessor 0.1.0\nprotocol 1\n")


@pytest.mark.parametrize("arguments", [(), ("fly",), ("--fly",)])
def test_an_unknown_command_is_wrong_usage(
    arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capfd, *arguments)
    assert (code, out) == (78, "")
    assert err.endswith("lessor --help lists them\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("acquire", "--wait", "soon"),
        ("acquire", "--wait", "5s", "--no-wait"),
        ("acquire", "--label", "novalue"),
        ("acquire", "--label", "a\x1b=b"),
        ("acquire", "--while-pid", "0"),
        ("acquire", "--on-lost", "shrug"),
        ("acquire", "surplus"),
        ("release",),
        ("release", "not-a-uuid"),
        ("status", "--yaml"),
        ("version", "2"),
    ],
)
def test_wrong_arguments_are_78_never_2(
    arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capfd, *arguments)
    assert (code, out) == (78, "")
    assert f"try: lessor {arguments[0]} --help" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("member", "add", "\udce9@x"),
        ("license", "show", "\udce9"),
        ("acquire", "-l", "\udce9"),
        ("release", "\udce9"),
        ("run", "-l", "\udce9", "--", "true"),
        ("run", "--label", "a=\udce9", "--", "true"),
        ("run", "-m", "\udce9", "--", "true"),
        ("\udce9",),
    ],
)
def test_arguments_that_are_not_utf_8_are_wrong_usage(
    arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LESSOR_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("LESSOR_API_KEY", "lsr_a_b")
    code, out, err = run(capfd, *arguments)
    assert (code, out) == (78, "")
    assert err.startswith("lessor: ")


@pytest.mark.parametrize("command", ["acquire", "status"])
def test_without_configuration_the_variable_is_named(
    command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capfd, command)
    assert code == 78
    assert err.startswith("lessor: no server is known: set LESSOR_URL")


@pytest.mark.parametrize("command", ["acquire", "release", "status", "version"])
def test_every_command_explains_itself(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capfd, command, "--help")
    assert code == 0
    assert out.startswith(f"usage: lessor {command}")


def test_without_the_daemon_serve_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "lessor_daemon", None)
    monkeypatch.delitem(sys.modules, "lessor_daemon.start", raising=False)
    code, _, err = run(capfd, "serve")
    assert code == 78
    assert "pip install '.[daemon]'" in err


def test_the_lease_options_are_read() -> None:
    parser = Parser("test", "")
    add_lease_options(parser)
    options = parser.parse_args(
        [
            "-l",
            "kre",
            "-w",
            "1h30m",
            "--label",
            "a=b",
            "--label",
            "c=d=e",
            "-m",
            "rig",
            "--persistent",
            "--connect-timeout",
            "5",
        ]
    )
    assert (options.license, options.wait, options.machine) == ("kre", 5_400_000, "rig")
    assert options.label == [("a", "b"), ("c", "d=e")]
    assert (options.ephemeral, options.connect_timeout) == (False, 5_000)
    options = parser.parse_args(["-n"])
    assert (options.wait, options.ephemeral, options.connect_timeout) == (0, None, 30_000)


EXPECTED = {
    "seats_exhausted": exits.NO_SEAT,
    "machines_exhausted": exits.NO_SEAT,
    "recovering": exits.NO_SEAT,
    "unauthenticated": exits.DENIED,
    "revoked": exits.DENIED,
    "forbidden": exits.DENIED,
    "license_expired": exits.DENIED,
    "not_registered_user": exits.DENIED,
    "unknown_license": exits.DENIED,
    "not_found": exits.DENIED,
    "lease_ended": exits.LOST,
    EXPIRED: exits.LOST,
    "draining": exits.UNREACHABLE,
    "store_unavailable": exits.UNREACHABLE,
    "internal": exits.UNREACHABLE,
    "rate_limited": exits.UNREACHABLE,
    UNREACHABLE: exits.UNREACHABLE,
    "malformed": exits.USAGE,
    "invalid": exits.USAGE,
    "too_large": exits.USAGE,
    "unsupported_type": exits.USAGE,
    "unsupported_version": exits.USAGE,
}


@pytest.mark.parametrize("code", [*sorted(HTTP_STATUS), EXPIRED, UNREACHABLE, "of_a_newer_server"])
def test_every_code_has_its_exit_code(code: str) -> None:
    error = errors.from_code(code, "why")
    expected = EXPECTED.get(code, exits.LESSOR_FAILED)
    assert (error.exit_code, error.code, str(error)) == (expected, code, "why")


def modules_after(statement: str) -> set[str]:
    """What a fresh interpreter has loaded after ``statement``, beyond what it starts with."""
    script = (
        f"import re, sys; before = set(sys.modules); {statement}; print(*set(sys.modules) - before)"
    )
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(output.stdout.split())


HEAVY = {
    "typing",
    "dataclasses",
    "subprocess",
    "http.client",
    "urllib.parse",
    "ssl",
    "json",
    "uuid",
    "tomllib",
    "logging",
    "threading",
    "asyncio",
    "hashlib",
    "pathlib",
    "ipaddress",
    "encodings.idna",
    "aiohttp",
    "redis",
    "structlog",
    "lessor_daemon",
}


def test_what_lessor_run_shares_loads_nothing_heavy() -> None:
    loaded = modules_after(
        "import lessor.cli, lessor.config, lessor.server, lessor.machine, lessor.ci, lessor.wish;"
        "lessor.machine.identify({}); lessor.ci.labels({})"
    )
    assert "lessor.transport" in loaded
    assert not loaded & HEAVY


def test_importing_lessor_alone_loads_nothing_else() -> None:
    assert modules_after("import lessor") <= {"lessor", "__future__"}


def test_the_python_api_is_there_when_it_is_asked_for() -> None:
    loaded = modules_after("import lessor; lessor.acquire, lessor.NoSeat")
    assert {"lessor.lease", "lessor.errors"} <= loaded
    assert not loaded & {"aiohttp", "asyncio", "redis", "structlog", "lessor_daemon"}


def test_the_package_shows_its_public_names_and_none_that_it_is_made_with() -> None:
    shown = [name for name in dir(lessor) if not name.startswith("__")]
    assert shown == sorted(lessor.__all__)
    loaded = modules_after("import lessor; assert 'acquire' in dir(lessor)")
    assert loaded <= {"lessor", "__future__"}


@pytest.mark.parametrize("command", ["run", "acquire", "release"])
def test_without_processes_as_unix_has_them_the_user_is_told(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.delattr("os.fork")
    code, _, err = run(capfd, command)
    assert code == exits.USAGE
    assert f"lessor {command} needs Linux" in err
