"""How a daemon starts, and how it refuses to."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from support.calls import Caller
from support.daemon import DaemonProcess, clean_environ
from support.redis_server import available_servers, start_redis
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.daemon import MakeDaemon
    from support.redis_server import RedisServer


def refused(*options: str, **environ: str) -> tuple[int, str]:
    """Exit code and output of a daemon that cannot start."""
    done = subprocess.run(
        [sys.executable, "-m", "lessor_daemon", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env=clean_environ(environ),
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(autouse=True)
def interpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here each daemon starts as a user starts it."""
    monkeypatch.setattr(DaemonProcess, "is_forked", False)


@pytest.fixture(params=sorted(available_servers()))
def external(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    """A store of somebody else's."""
    directory = tmp_path / "external"
    directory.mkdir()
    server = start_redis(available_servers()[request.param], directory, "--appendonly", "yes")
    yield server
    server.stop()


def test_the_first_start_makes_keys_that_only_the_user_can_read(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(bootstrap=None)
    daemon.start()
    for name in ("operator", "owner"):
        path = daemon.data_dir / f"{name}.key"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((daemon.data_dir / "secret").stat().st_mode) == 0o600
    (license,) = daemon.caller("owner").call("GET", "/v1/orgs/default/licenses").body["items"]
    assert (license["name"], license["kind"], license["seats"]) == ("kre", "floating", 5)
    (first,) = daemon.events("first_start")
    assert str(daemon.data_dir / "owner.key") in first["key_files"]
    assert daemon.key("owner") not in daemon.log_path.read_text()


def test_the_first_license_keeps_to_a_short_max_ttl(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon("--max-ttl", "20s", bootstrap=None)
    daemon.start()
    (license,) = daemon.caller("owner").call("GET", "/v1/orgs/default/licenses").body["items"]
    assert license["ttl"] == 20


def test_a_later_start_makes_nothing_new(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(bootstrap=None)
    daemon.start()
    key = daemon.key("owner")
    assert daemon.stop() == 0
    daemon.start()
    assert daemon.key("owner") == key
    assert daemon.caller("owner").call("GET", "/v1/whoami").status == 200
    assert len(daemon.events("first_start")) == 1


def test_the_first_start_shows_a_person_what_to_do_next(tmp_path: Path, free_port: int) -> None:
    data_dir = tmp_path / "data"
    options = ["--listen", f"127.0.0.1:{free_port}", "--data-dir", str(data_dir)]
    with subprocess.Popen(
        [sys.executable, "-m", "lessor_daemon", *options],
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environ(),
    ) as process:
        wait_until(lambda: _is_ready(f"http://127.0.0.1:{free_port}"), what="the daemon")
        process.terminate()
        text = process.communicate(timeout=20)[1]
    assert process.returncode == 0
    assert f"export LESSOR_API_KEY_FILE={data_dir / 'owner.key'}" in text
    assert "lessor run -- " in text
    assert (data_dir / "owner.key").read_text().strip() not in text


def test_a_changed_bootstrap_value_wins_at_the_next_start(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    daemon.stop()
    path = daemon.directory / "bootstrap.toml"
    path.write_text(path.read_text().replace("seats = 2", "seats = 7"))
    daemon.start()
    (license,) = daemon.caller().call("GET", "/v1/orgs/acme/licenses").body["items"]
    assert license["seats"] == 7


def test_leases_survive_a_killed_daemon(own_daemon: DaemonProcess) -> None:
    lease = own_daemon.caller().acquire().body["lease"]
    own_daemon.restart()
    assert own_daemon.caller().renew(lease["id"]).body["renewed"] == [lease["id"]]


def test_a_bad_setting_ends_it_with_78_and_one_line_of_json(tmp_path: Path) -> None:
    code, text = refused(
        "--log-format", "json", LESSOR_MAX_TTL="long", LESSOR_DATA_DIR=str(tmp_path)
    )
    (line,) = [json.loads(one) for one in text.splitlines()]
    assert code == 78
    assert (line["event"], line["place"]) == ("bad_configuration", "LESSOR_MAX_TTL")


def test_a_bad_bootstrap_file_ends_it_with_78_before_anything_is_made(tmp_path: Path) -> None:
    bootstrap = tmp_path / "acme.toml"
    bootstrap.write_text('[[organization]]\nslug = "acme"\nseats = 5\n')
    data_dir = tmp_path / "data"
    code, text = refused("--bootstrap", str(bootstrap), "--data-dir", str(data_dir))
    assert code == 78
    assert "acme.toml: organization[0].seats" in text
    assert not data_dir.exists()


def test_a_key_file_that_cannot_be_written_ends_it_with_78(tmp_path: Path) -> None:
    bootstrap = tmp_path / "acme.toml"
    bootstrap.write_text(
        '[[organization]]\nslug = "acme"\n'
        '[[organization.key]]\nname = "ci"\nsecret_file = "no/such/dir/ci.key"\n'
    )
    options = ["--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data")]
    code, text = refused("--bootstrap", str(bootstrap), *options)
    assert code == 78
    assert "no/such/dir" in text


def test_a_taken_port_ends_it_with_78(daemon: DaemonProcess, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        for port in (other.getsockname()[1], daemon.url.rpartition(":")[2]):
            options = ["--listen", f"127.0.0.1:{port}", "--data-dir", str(tmp_path / "data")]
            code, text = refused(*options)
            assert code == 78
            assert "--listen" in text
            assert "is taken" in text


def test_a_host_that_is_not_ours_ends_it_with_78(tmp_path: Path) -> None:
    options = ["--listen", "192.0.2.1:7420", "--data-dir", str(tmp_path / "data")]
    assert refused(*options)[0] == 78


def test_a_data_directory_that_cannot_be_made_ends_it_with_78(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, text = refused("--data-dir", str(tmp_path / "file" / "data"))
    assert code == 78
    assert "--data-dir" in text


def test_a_second_daemon_on_the_same_data_ends_with_78(daemon: DaemonProcess) -> None:
    code, text = refused("--listen", "127.0.0.1:0", "--data-dir", str(daemon.data_dir))
    assert code == 78
    assert "another Lessor uses" in text
    assert daemon.caller().acquire().status == 201


def test_an_empty_secret_file_ends_it_with_78(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("short\n")
    code, text = refused("--secret-file", str(secret), "--data-dir", str(tmp_path / "data"))
    assert code == 78
    assert "--secret-file" in text


def test_a_store_that_is_not_there_at_the_start_is_waited_for(
    make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    directory = tmp_path / "late"
    directory.mkdir()
    daemon = make_daemon("--store", f"unix://{directory / 'redis.sock'}", "--new-store")
    daemon.start(until="listening")
    anyone = daemon.anonymous()
    assert anyone.call("GET", "/livez").status == 200
    unready = anyone.call("GET", "/readyz")
    assert (unready.status, unready.code) == (503, "store_unavailable")
    refusal = Caller(daemon.url, "lsr_any_key").acquire()
    assert (refusal.status, refusal.code) == (503, "store_unavailable")
    assert int(refusal.headers["Retry-After"]) >= 1
    assert anyone.call("GET", "/metrics").status == 200
    server = start_redis(available_servers()["valkey"], directory)
    try:
        wait_until(lambda: _is_ready(daemon.url), what="the daemon to be ready")
        assert daemon.caller().acquire().status == 201
    finally:
        daemon.stop()
        server.stop()


def test_an_external_store_is_new_only_if_the_operator_says_so(
    make_daemon: MakeDaemon, external: RedisServer
) -> None:
    unsure = make_daemon("--store", external.url)
    unsure.start()
    refusal = unsure.caller().acquire()
    assert (refusal.status, refusal.code) == (503, "recovering")
    assert unsure.anonymous().call("GET", "/readyz").body == {"status": "ready", "recovering": True}


def test_a_new_external_store_grants_at_once(
    make_daemon: MakeDaemon, external: RedisServer
) -> None:
    daemon = make_daemon("--store", external.url, "--new-store")
    daemon.start()
    assert daemon.caller().acquire().status == 201


def test_daemons_that_fill_a_new_store_at_the_same_time_all_serve(
    make_daemon: MakeDaemon, external: RedisServer
) -> None:
    """As they do when a store that was emptied is back: each finds that something is missing."""
    licenses = [
        f'[[organization.license]]\nname = "tool-{number}"\nseats = 2\n' for number in range(40)
    ]
    bootstrap = '[[organization]]\nslug = "acme"\n' + "".join(licenses)
    daemons = [
        make_daemon("--store", external.url, "--new-store", bootstrap=bootstrap) for _ in range(3)
    ]
    with ThreadPoolExecutor() as pool:
        list(pool.map(DaemonProcess.start, daemons))
    assert [one.exit_code for one in daemons] == [None] * len(daemons)


def test_a_store_that_goes_away_is_told_and_waited_for(
    make_daemon: MakeDaemon, external: RedisServer
) -> None:
    daemon = make_daemon("--store", external.url, "--new-store")
    daemon.start()
    lease = daemon.caller().acquire().body["lease"]
    external.stop()
    caller = daemon.caller()
    refusal = wait_until(
        lambda: (answer := caller.acquire()).status == 503 and answer, what="the loss to show"
    )
    assert refusal
    assert refusal.code == "store_unavailable"
    assert caller.renew(lease["id"]).code == "store_unavailable"
    unready = daemon.anonymous().call("GET", "/readyz")
    assert (unready.status, unready.code) == (503, "store_unavailable")
    assert daemon.anonymous().call("GET", "/livez").status == 200
    wait_until(lambda: daemon.events("store_lost"), what="the loss to be logged")


def _is_ready(url: str) -> bool:
    try:
        return Caller(url).call("GET", "/readyz").status == 200
    except OSError:
        return False
