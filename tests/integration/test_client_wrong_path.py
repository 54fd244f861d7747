"""A URL whose path leads to no Lessor is no server, whatever answers there; the next one is tried.

The fake server answers a path that it does not know as a Lessor does: with the problem
``not_found``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lessor
import pytest
from support.async_clients import client_of, live
from support.command_line import Shell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.daemon import DaemonProcess
    from support.lessor_run import Run

    Start = Callable[..., Run]

UNREACHABLE, DENIED = 69, 77


@pytest.fixture
def shell(daemon: DaemonProcess, tmp_path: Path) -> Shell:
    return Shell(tmp_path, daemon, "admin")


@pytest.fixture
def astray(daemon: DaemonProcess) -> str:
    """The URL of the daemon with a path under which it serves nothing."""
    return f"{daemon.url}/lessor"


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "-n", "--", "true"),
        ("run", "-n", "-l", "kre", "--", "true"),
        ("run", "-l", "kre", "--connect-timeout", "300ms", "--", "true"),
        ("acquire", "-n", "-l", "kre", "--while-pid", "1"),
        ("status",),
        ("license", "list"),
        ("org", "list"),
        ("org", "create", "fresh", "--owner", "eve@example.com"),
        ("offline", "rotate"),
        ("backup", "all.json"),
    ],
    ids=" ".join,
)
def test_a_path_that_leads_to_no_lessor_is_69_and_said(
    shell: Shell, astray: str, arguments: tuple[str, ...]
) -> None:
    done = shell.run(*arguments, LESSOR_URL=astray)
    assert done.returncode == UNREACHABLE, done.stderr
    assert f"{astray} (LESSOR_URL) leads to no Lessor" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "-n", "--", "true"),
        ("run", "-n", "-l", "kre", "--", "true"),
        ("status",),
        ("license", "list"),
    ],
    ids=" ".join,
)
def test_the_next_url_is_tried(
    shell: Shell, daemon: DaemonProcess, astray: str, arguments: tuple[str, ...]
) -> None:
    done = shell.run(*arguments, LESSOR_URL=f"{astray},{daemon.url}")
    assert done.returncode == 0, done.stderr


def test_a_release_asks_the_next_url_and_one_that_nobody_knows_is_denied(
    daemon: DaemonProcess, shell: Shell, astray: str
) -> None:
    urls = f"{astray},{daemon.url}"
    with lessor.acquire("kre", wait=0, url=daemon.url, api_key=daemon.key("ci")) as lease:
        assert shell.with_key("ci").run("release", lease.id, LESSOR_URL=urls).returncode == 0
        assert not live(daemon)
    two_ways = f"{daemon.url},{daemon.url.replace('127.0.0.1', 'localhost')}"
    for number, either in enumerate((urls, two_ways)):
        unknown = f"00000000-0000-4000-8000-00000000000{number}"
        assert shell.run("release", unknown, LESSOR_URL=either).returncode == DENIED


def test_what_changes_something_is_sent_to_the_next_url(
    shell: Shell, own_daemon: DaemonProcess
) -> None:
    urls = f"{own_daemon.url}/lessor,{own_daemon.url}"
    operator = {"LESSOR_URL": urls, "LESSOR_API_KEY": own_daemon.key("operator")}
    made = shell.run("org", "create", "fresh", "--owner", "eve@example.com", **operator)
    assert made.returncode == 0, made.stderr
    assert "fresh" in shell.run("org", "list", **operator).stdout


def test_what_an_admin_asks_for_and_is_not_there_stays_denied(shell: Shell) -> None:
    assert "no license" in shell.refused(DENIED, "license", "show", "nowhere")


async def test_an_async_client_tries_the_next_url_too(daemon: DaemonProcess, astray: str) -> None:
    async with (
        client_of(daemon, url=f"{astray},{daemon.url}") as client,
        client.acquire(wait=0) as lease,
    ):
        assert live(daemon) == [lease.id]


async def test_an_async_client_says_that_the_path_leads_nowhere(
    daemon: DaemonProcess, astray: str
) -> None:
    async with client_of(daemon, url=astray) as client:
        for license in (None, "kre"):
            with pytest.raises(lessor.Unreachable, match="leads to no Lessor"):
                async with client.acquire(license, wait=0):
                    pass
