"""The recipes under ``deploy/`` name options, files and settings that exist, and can be read."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from lessor_daemon import config
from lessor_daemon.bootstrap import read_bootstrap
from lessor_protocol import timing
from support.documents import ROOT
from support.waiting import wait_until

if TYPE_CHECKING:
    from lessor_daemon.bootstrap import Bootstrap

DEPLOY = ROOT / "deploy"
CONTAINERFILE = DEPLOY / "Containerfile"
UNIT = DEPLOY / "systemd" / "lessor.service"
YAML_FILES = sorted(
    [*DEPLOY.rglob("*.yml"), *DEPLOY.rglob("*.yaml"), ROOT / ".pre-commit-config.yaml"]
)


Mapping = dict[str, Any]
"""A file as YAML has it: each test looks at what it knows to be there."""


def read_yaml(path: Path) -> Mapping:
    loaded = yaml.safe_load(path.read_text())
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture
def compose() -> Mapping:
    return read_yaml(DEPLOY / "compose.yaml")


def container_variables() -> dict[str, str]:
    """The LESSOR_… variables that the image sets."""
    return dict(re.findall(r"(LESSOR_\w+)=(\S+)", CONTAINERFILE.read_text()))


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_yaml_file_can_be_read(path: Path) -> None:
    assert read_yaml(path)


def test_the_servers_options_in_compose_are_a_configuration(compose: Mapping) -> None:
    found = config.load(compose["services"]["lessor"]["command"], container_variables())
    assert found.store == "redis://redis:6379/0"
    assert str(found.listen) == "0.0.0.0:7420"
    assert found.bootstrap is not None


def test_files_and_volumes_of_compose_are_there(compose: Mapping) -> None:
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source, _, _ = volume.partition(":")
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
            else:
                assert source in compose["volumes"]
        assert set(service["networks"]) <= set(compose["networks"])
    build = compose["services"]["lessor"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(CONTAINERFILE)


def test_the_servers_data_lies_on_a_volume(compose: Mapping) -> None:
    data_dir = container_variables()["LESSOR_DATA_DIR"]
    assert f"lessor-data:{data_dir}" in compose["services"]["lessor"]["volumes"]
    (key,) = bootstrap().organizations[0].keys
    assert key.secret_file is not None
    assert key.secret_file.parent == Path(data_dir)


def test_the_container_gets_longer_to_stop_than_the_drain_takes(compose: Mapping) -> None:
    drain_ms = config.load([], {}).drain_ms
    grace = compose["services"]["lessor"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) * 1000 > drain_ms


def connected(path: Path) -> socket.socket | None:
    """A connection to the server at ``path``, None while it does not listen yet."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        return None
    return connection


def test_the_redis_of_compose_keeps_every_write(compose: Mapping, tmp_path: Path) -> None:
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("no redis-server on PATH to read its settings")
    program, *options = shlex.split(compose["services"]["redis"]["command"])
    assert program == "redis-server"
    path = tmp_path / "s"
    redis = subprocess.Popen(
        [binary, *options, "--port", "0", "--unixsocket", path, "--dir", tmp_path],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        connection = wait_until(lambda: connected(path), 20, "redis to answer")
        assert connection is not None
        with connection:
            for name, value in (
                ("appendonly", "yes"),
                ("appendfsync", "always"),
                ("maxmemory-policy", "noeviction"),
                ("save", ""),
            ):
                connection.sendall(f"CONFIG GET {name}\r\n".encode())
                answer = connection.recv(4096).decode().split("\r\n")
                assert answer[4] == value, name
    finally:
        redis.terminate()
        redis.wait(20)


def test_prometheus_scrapes_the_port_that_serves_metrics(compose: Mapping) -> None:
    settings = read_yaml(DEPLOY / "prometheus" / "prometheus.yml")
    (job,) = settings["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    ops = config.load(compose["services"][host]["command"], {}).ops_listen
    assert ops is not None
    assert int(port) == ops.port
    for name in settings["rule_files"]:
        assert (DEPLOY / "prometheus" / name).exists()


def test_every_alert_is_whole_and_explained() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text()
    (group,) = read_yaml(DEPLOY / "prometheus" / "alerts.yml")["groups"]
    for rule in group["rules"]:
        assert rule["expr"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"]
        assert f"`{rule['alert']}`" in operations


def bootstrap() -> Bootstrap:
    return read_bootstrap(
        DEPLOY / "bootstrap.toml", min_ttl_ms=timing.MIN_TTL_MS, max_ttl_ms=timing.MAX_TTL_MS
    )


def test_the_bootstrap_file_can_be_read() -> None:
    assert bootstrap().organizations[0].licenses[0].name == "kre"


def unit_command() -> list[str]:
    """What the unit starts, with systemd's variables filled in."""
    text = UNIT.read_text().replace("\\\n", " ")
    match = re.search(r"^ExecStart=(.+)$", text, re.MULTILINE)
    assert match is not None
    filled = match[1].replace("${STATE_DIRECTORY}", "/var/lib/lessor")
    return shlex.split(
        filled.replace("${CREDENTIALS_DIRECTORY}", "/run/credentials/lessor.service")
    )


def test_the_units_options_are_a_configuration() -> None:
    program, command, *options = unit_command()
    assert (Path(program).name, command) == ("lessor", "serve")
    found = config.load(options, {})
    assert found.is_embedded
    assert found.secret_file.name == "secret"


def test_the_unit_gets_longer_to_stop_than_drain_and_store_take() -> None:
    match = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert match is not None
    assert int(match[1]) * 1000 > config.load([], {}).drain_ms + 5_000


def test_the_unit_is_what_systemd_understands(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze on PATH to read the unit")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(unit_command()[0], sys.executable))
    done = subprocess.run(
        [analyze, "verify", copy], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_checks_at_a_commit_are_those_of_make_lint() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (repo,) = read_yaml(ROOT / ".pre-commit-config.yaml")["repos"]
    for hook in repo["hooks"]:
        command = hook["entry"].removeprefix(".venv/bin/").removesuffix(" --fix")
        assert f"$(BIN)/{command}" in makefile
