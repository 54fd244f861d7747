"""A store loses its memory under a running daemon: healthy leases live on, nothing is granted."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from support.external_store import ExternalStore
from support.redis_server import available_servers
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.calls import Answer, Caller
    from support.daemon import DaemonProcess


@pytest.fixture(params=sorted(available_servers()))
def external(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ExternalStore]:
    directory = tmp_path / "redis"
    directory.mkdir()
    store = ExternalStore(available_servers()[request.param], directory)
    store.start()
    yield store
    store.kill()


@pytest.fixture
def daemon(external: ExternalStore, make_daemon: Callable[..., DaemonProcess]) -> DaemonProcess:
    """A daemon on the external store, with a grace of some 3 s."""
    return start(make_daemon, external, "--store-durable")


BOOTSTRAP = """
[[organization]]
slug = "acme"
[[organization.license]]
name = "kre"
seats = 1
ttl = "2s"
[[organization.key]]
name = "ci"
scopes = ["run", "read"]
secret_file = "ci.key"
"""


def start(
    make_daemon: Callable[..., DaemonProcess],
    external: ExternalStore,
    *arguments: str,
    **environ: str,
) -> DaemonProcess:
    """A daemon on the external store, with short times."""
    assert external.server is not None
    made = make_daemon(
        *("--store", external.server.url, "--max-ttl", "2s"),
        *arguments,
        bootstrap=BOOTSTRAP,
        LESSOR_TEST="1",
        LESSOR_TEST_MIN_TTL="1s",
        LESSOR_TEST_MARGIN="1s",
        **environ,
    )
    made.start()
    return made


def acquire(ci: Caller, lease_id: str) -> Answer:
    return ci.call(
        "POST",
        "/v1/leases",
        {
            "id": lease_id,
            "license": "kre",
            "machine": {"id": "m1"},
            "process": {"pid": 1, "command": "pytest"},
        },
    )


def renew(ci: Caller, lease: dict[str, Any]) -> Answer:
    wanted = {"id": lease["id"], "certificate": lease["certificate"]}
    return ci.call("POST", "/v1/leases/renew", {"leases": [wanted]})


def until_answered(call: Callable[[], Answer]) -> Answer:
    """Repeat while the store is away."""

    def answered() -> Answer | None:
        answer = call()
        return None if answer.code == "store_unavailable" else answer

    found = wait_until(answered, 20, "the store to be back")
    assert found is not None
    return found


def test_a_killed_store_that_kept_its_data_disturbs_nobody(
    external: ExternalStore, daemon: DaemonProcess
) -> None:
    ci = daemon.caller("ci")
    lease = acquire(ci, str(uuid.uuid4())).body["lease"]
    external.kill()
    assert renew(ci, lease).code == "store_unavailable"
    external.start()
    assert until_answered(lambda: renew(ci, lease)).body["renewed"] == [lease["id"]]
    assert acquire(ci, str(uuid.uuid4())).code == "seats_exhausted", "and no grace was opened"


def test_an_emptied_store_puts_healthy_leases_back_and_grants_nothing_meanwhile(
    external: ExternalStore, daemon: DaemonProcess
) -> None:
    ci = daemon.caller("ci")
    lease = acquire(ci, str(uuid.uuid4())).body["lease"]
    external.kill()
    external.forget()
    external.start()
    other = str(uuid.uuid4())
    refused: list[Answer] = []

    def holder_goes_on_until_grace_is_over() -> bool:
        renewal = until_answered(lambda: renew(ci, lease))
        assert renewal.body["renewed"] == [lease["id"]], renewal.body
        wanted = acquire(ci, other)
        refused.append(wanted)
        return wanted.code == "seats_exhausted"

    wait_until(holder_goes_on_until_grace_is_over, 30, "grace to be over")
    codes = {answer.code for answer in refused} - {"unauthenticated"}
    assert codes == {"recovering", "seats_exhausted"}
    assert any("Retry-After" in answer.headers for answer in refused if answer.code == "recovering")
    assert ci.call("DELETE", f"/v1/leases/{lease['id']}").status == 204
    after = acquire(ci, other)
    assert after.status == 201
    assert after.body["lease"]["token"] > lease["token"]


def test_a_store_put_back_from_an_older_copy_is_noticed(
    external: ExternalStore, daemon: DaemonProcess
) -> None:
    ci = daemon.caller("ci")
    first = acquire(ci, str(uuid.uuid4())).body["lease"]
    external.kill()
    copy = external.copy()
    external.start()
    assert until_answered(lambda: renew(ci, first)).status == 200
    ci.call("DELETE", f"/v1/leases/{first['id']}")
    second = until_answered(lambda: acquire(ci, str(uuid.uuid4()))).body["lease"]
    external.put_back(copy)
    renewal = until_answered(lambda: renew(ci, second))
    assert renewal.body["renewed"] == [second["id"]]
    assert acquire(ci, str(uuid.uuid4())).code == "recovering"


@pytest.fixture
def doubting(external: ExternalStore, make_daemon: Callable[..., DaemonProcess]) -> DaemonProcess:
    """A daemon that nobody told that the store is durable."""
    return start(make_daemon, external, "--new-store", LESSOR_TEST_FAILOVER="1s")


def test_a_store_that_lost_the_tail_of_its_log_gets_the_lease_back_and_revives_none(
    external: ExternalStore, doubting: DaemonProcess
) -> None:
    ci = doubting.caller("ci")
    first = acquire(ci, str(uuid.uuid4())).body["lease"]
    size = external.log_size()
    assert ci.call("DELETE", f"/v1/leases/{first['id']}").status == 204
    second = acquire(ci, str(uuid.uuid4())).body["lease"]
    external.kill()
    external.cut_log(size + 5)  # the last write that is left is torn
    external.start()
    assert until_answered(lambda: renew(ci, second)).body["renewed"] == [second["id"]]
    assert acquire(ci, str(uuid.uuid4())).code == "recovering"
    assert acquire(ci, first["id"]).code == "recovering", "it knows the lease, and not of its end"


def test_a_killed_store_that_may_have_lost_something_recovers_and_disturbs_nobody(
    external: ExternalStore, doubting: DaemonProcess
) -> None:
    ci = doubting.caller("ci")
    lease = acquire(ci, str(uuid.uuid4())).body["lease"]
    external.kill()
    external.start()
    other = str(uuid.uuid4())
    codes: set[str] = set()

    def recovery_is_over() -> bool:
        assert until_answered(lambda: renew(ci, lease)).body["renewed"] == [lease["id"]]
        codes.add(acquire(ci, other).code)
        return "seats_exhausted" in codes

    wait_until(recovery_is_over, 30, "recovery to be over")
    assert codes == {"recovering", "seats_exhausted"}
