"""``lessor doctor``: the first hop that fails is named, with whom to ask, and nothing behind it."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from support.command_line import Shell
from support.raw_server import RawServer, answer_always

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemon import DaemonProcess

UNREACHABLE, DENIED, USAGE = 69, 77, 78
ALIVE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 19\r\n"
    b'Date: Fri, 01 Jan 2021 00:00:00 GMT\r\n\r\n{"status": "alive"}'
)
NOT_LESSOR = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.fixture
def shell(shared: DaemonProcess, tmp_path: Path) -> Shell:
    """The shell of a CI job."""
    return Shell(tmp_path, shared, "run")


def examine(shell: Shell, **extra: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code and the findings."""
    done = shell.run("doctor", "--json", **extra)
    findings: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return done.returncode, findings


def last(shell: Shell, **extra: str) -> tuple[int, str, str]:
    """The exit code, the last hop, and all that is said of it."""
    code, findings = examine(shell, **extra)
    found = findings[-1]
    assert [one["status"] for one in findings[:-1]] == ["ok"] * (len(findings) - 1), findings
    return code, found["hop"], f"{found['text']} {found.get('advice', '')}"


def test_where_all_is_well_every_hop_says_so(shell: Shell) -> None:
    code, findings = examine(shell, LESSOR_LICENSE="kre")
    assert code == 0
    hops = [one["hop"] for one in findings]
    assert hops == ["settings", "DNS", "TCP", "HTTP", "clock", "store", "key", "license"]
    assert {one["status"] for one in findings} == {"ok"}
    assert "2 of 2 seats are free" in findings[-1]["text"]
    text = shell.text("doctor").splitlines()
    assert [line.split()[:2] for line in text] == [["ok", hop] for hop in hops]


def test_without_settings_the_variable_is_named(tmp_path: Path) -> None:
    code, findings = examine(Shell(tmp_path))
    assert code == USAGE
    assert "LESSOR_URL" in findings[-1]["text"]


def test_a_closed_port_is_told_with_what_to_have_allowed(shell: Shell, free_port: int) -> None:
    code, hop, said = last(shell, LESSOR_URL=f"http://127.0.0.1:{free_port}")
    assert (code, hop) == (UNREACHABLE, "TCP")
    assert "nobody listens there" in said
    assert f"ask the network team to allow TCP from 127.0.0.1 to 127.0.0.1 port {free_port}" in said


def test_a_name_without_an_address_ends_it_at_dns(shell: Shell) -> None:
    code, hop, said = last(shell, LESSOR_URL="http://nowhere.invalid")
    assert (code, hop) == (UNREACHABLE, "DNS")
    assert "may resolve nowhere.invalid" in said


def test_a_dead_proxy_is_not_taken_for_a_dead_server(shell: Shell, free_port: int) -> None:
    proxy = f"http://127.0.0.1:{free_port}"
    code, hop, said = last(shell, LESSOR_URL="http://lessor.example.com", http_proxy=proxy)
    assert (code, hop) == (UNREACHABLE, "TCP")
    assert f"the proxy 127.0.0.1:{free_port}" in said


def test_something_else_that_answers_is_not_taken_for_lessor(shell: Shell) -> None:
    with RawServer(answer_always(NOT_LESSOR)) as server:
        code, hop, said = last(shell, LESSOR_URL=server.url)
    assert (code, hop) == (UNREACHABLE, "HTTP")
    assert "not as a Lessor server does" in said


def test_a_clock_that_differs_is_a_warning(shell: Shell) -> None:
    with RawServer(answer_always(ALIVE)) as server:
        _, findings = examine(shell, LESSOR_URL=server.url)
    (clock,) = (one for one in findings if one["hop"] == "clock")
    assert clock["status"] == "warning"
    assert "ahead of the server's" in clock["text"]
    assert "NTP" in clock["advice"]


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def tls_of(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


def test_a_certificate_that_is_not_trusted_is_told_with_what_to_ask_for(
    shell: Shell, authority: trustme.CA
) -> None:
    with RawServer(answer_always(ALIVE), tls=tls_of(authority)) as server:
        code, hop, said = last(shell, LESSOR_URL=server.url)
    assert (code, hop) == (UNREACHABLE, "TLS")
    assert "CA certificate" in said
    assert "SSL_CERT_FILE" in said


def test_a_certificate_for_other_names_is_not_told_with_whom_to_trust(
    shell: Shell, authority: trustme.CA, tmp_path: Path
) -> None:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    with RawServer(answer_always(ALIVE), tls=tls_of(authority)) as server:
        url = server.url.replace("localhost", "127.0.0.1")
        code, hop, said = last(shell, LESSOR_URL=url, SSL_CERT_FILE=str(ca_file))
    assert (code, hop) == (UNREACHABLE, "TLS")
    assert "other names" in said
    assert "CA certificate" not in said


def test_a_trusted_certificate_is_shown_with_its_term(
    shell: Shell, authority: trustme.CA, tmp_path: Path
) -> None:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    with RawServer(answer_always(ALIVE), tls=tls_of(authority)) as server:
        _, findings = examine(shell, LESSOR_URL=server.url, SSL_CERT_FILE=str(ca_file))
    (tls,) = (one for one in findings if one["hop"] == "TLS")
    assert tls["status"] == "ok"
    assert "certificate for localhost, valid for" in tls["text"]


def test_a_wrong_key_and_a_wrong_license_are_denied(shell: Shell) -> None:
    code, hop, said = last(shell, LESSOR_API_KEY="lsr_nobody_nothing")
    assert (code, hop) == (DENIED, "key")
    assert "LESSOR_API_KEY_FILE" in said
    code, hop, said = last(shell, LESSOR_LICENSE="nix")
    assert (code, hop) == (DENIED, "license")
    assert "there are kre, studio" in said


def test_of_several_servers_each_is_examined(shell: Shell, free_port: int) -> None:
    good = shell.environment()["LESSOR_URL"]
    code, findings = examine(shell, LESSOR_URL=f"http://127.0.0.1:{free_port},{good}")
    assert code == UNREACHABLE
    assert [one["hop"] for one in findings if one["status"] == "failed"] == ["TCP"]
    assert findings[-1]["hop"] == "license"
