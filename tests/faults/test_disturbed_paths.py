"""What happens between a healthy run and its seat neither disturbs it nor costs a second seat."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from support.proxy import Proxy
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from support.daemon import DaemonProcess
    from support.lessor_run import Run

    Start = Callable[..., Run]

BOOTSTRAP = """
[[organization]]
slug = "acme"
[[organization.license]]
name = "kre"
seats = 2
ttl = "{ttl}"
[[organization.key]]
name = "ci"
scopes = ["run", "read"]
secret_file = "ci.key"
"""


class SeatsWatched:
    """The most seats that were ever held, as the server tells whenever it can be asked."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self._daemon = daemon
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.most = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            try:
                answer = self._daemon.caller("ci").call("GET", "/v1/orgs/acme/licenses")
            except OSError:
                continue
            if answer.status == 200:
                self.most = max(self.most, answer.body["items"][0]["leases"])


@pytest.fixture
def daemon(
    request: pytest.FixtureRequest, make_daemon: Callable[..., DaemonProcess]
) -> DaemonProcess:
    made = make_daemon(bootstrap=BOOTSTRAP.format(ttl=request.param))
    made.start()
    return made


@pytest.fixture
def path(daemon: DaemonProcess) -> Iterator[Proxy]:
    """What lies between the run and the daemon."""
    proxy = Proxy(int(daemon.url.rpartition(":")[2]))
    yield proxy
    proxy.close()


def begin(start: Start, daemon: DaemonProcess, url: str) -> Run:
    environ = {"LESSOR_API_KEY": (daemon.directory / "ci.key").read_text().strip()}
    run = start("--", "cat", url=url, environ=environ, stdin=-1)
    run.event("started")
    return run


def is_renewing(run: Run) -> bool:
    """Whether no outage is open, as the run tells."""
    return run.stderr.count("renewing failed") == run.stderr.count("renewed again")


def end(run: Run) -> None:
    """The command ends by itself, with its own exit code."""
    assert run.process.stdin is not None
    run.process.stdin.close()
    assert run.wait() == 0


@pytest.mark.parametrize("daemon", ["10s", "30s"], indirect=True)
def test_a_daemon_killed_and_restarted_three_times_within_one_run_disturbs_nobody(
    start: Start, daemon: DaemonProcess
) -> None:
    run = begin(start, daemon, daemon.url)
    with SeatsWatched(daemon) as watched:
        for _ in range(3):
            daemon.restart()
            wait_until(lambda: is_renewing(run), 10, "the run to renew again")
        wait_until(lambda: watched.most, 10, "the server to tell who holds seats")
    assert run.process.poll() is None
    assert watched.most == 1
    end(run)


@pytest.mark.parametrize("daemon", ["5s", "10s"], indirect=True)
def test_a_network_cut_for_half_a_ttl_disturbs_nobody(
    start: Start, daemon: DaemonProcess, path: Proxy, request: pytest.FixtureRequest
) -> None:
    ttl_seconds = float(request.node.callspec.params["daemon"].rstrip("s"))
    run = begin(start, daemon, f"http://{path.address}")
    with SeatsWatched(daemon) as watched:
        for _ in range(2):
            path.cut()
            time.sleep(ttl_seconds / 2)  # the length of the outage is what is tested
            path.mend()
            wait_until(lambda: is_renewing(run), ttl_seconds, "the run to renew again")
    assert run.process.poll() is None
    assert watched.most == 1
    end(run)
    assert "lost" not in [event["event"] for event in run.events]
