"""The daemon's settings: where they come from, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from lessor_daemon import config
from lessor_daemon.errors import ConfigurationError
from lessor_daemon.settings import Address


def load(*argv: str, **environ: str) -> config.Config:
    return config.load(argv, {"HOME": "/home/ada", **environ})


def refusal(*argv: str, **environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(*argv, **environ)
    return str(caught.value)


def test_without_any_setting_the_daemon_serves_this_machine_from_its_own_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    found = load()
    assert found.listen == Address("127.0.0.1", 7420)
    assert found.is_embedded
    assert found.data_dir == Path("/home/ada/.local/state/lessor")
    assert found.secret_file == found.data_dir / "secret"
    assert (found.max_ttl_ms, found.drain_ms) == (60_000, 10_000)


def test_data_lies_below_the_state_directory_of_the_user() -> None:
    assert load(XDG_STATE_HOME="/state").data_dir == Path("/state/lessor")


def test_a_flag_counts_before_a_variable_and_a_variable_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "lessor.toml"
    file.write_text('drain = "1s"\nmax_ttl = "11s"\nlisten = "127.0.0.1:1"\n')
    found = load(*("--config", str(file), "--drain", "3s"), LESSOR_DRAIN="2s", LESSOR_MAX_TTL="12s")
    assert (found.drain_ms, found.max_ttl_ms, found.listen.port) == (3_000, 12_000, 1)


def test_the_file_may_be_named_by_a_variable_and_spell_names_as_flags_do(tmp_path: Path) -> None:
    file = tmp_path / "lessor.toml"
    file.write_text('log-format = "json"\nstore-durable = true\ndrain = 2.5\n')
    found = load(LESSOR_CONFIG=str(file))
    assert (found.log_format, found.store_durable, found.drain_ms) == ("json", True, 2_500)


def test_paths_in_the_file_are_relative_to_it(tmp_path: Path) -> None:
    file = tmp_path / "lessor.toml"
    file.write_text('data_dir = "data"\nbootstrap = "acme.toml"\n')
    found = load("--config", str(file))
    assert found.data_dir == tmp_path / "data"
    assert found.bootstrap == tmp_path / "acme.toml"


def test_a_store_url_can_be_read_from_a_file_because_it_may_hold_a_password(
    tmp_path: Path,
) -> None:
    secret = tmp_path / "url"
    secret.write_text("redis://:hunter2@store:6379\n")
    file = tmp_path / "lessor.toml"
    file.write_text('store_file = "url"\n')
    assert load(LESSOR_STORE_FILE=str(secret)).store == "redis://:hunter2@store:6379"
    assert load("--config", str(file)).store == "redis://:hunter2@store:6379"


@pytest.mark.parametrize(
    ("argv", "environ", "place"),
    [
        (["--listen", "7420"], {}, "--listen"),
        (["--listen", "::1:7420"], {}, "--listen"),
        (["--listen", "127.0.0.1:65536"], {}, "--listen"),
        ([], {"LESSOR_LISTEN": "nowhere"}, "LESSOR_LISTEN"),
        ([], {"LESSOR_DRAIN": "soon"}, "LESSOR_DRAIN"),
        ([], {"LESSOR_MAX_TTL": "11m"}, "LESSOR_MAX_TTL"),
        (["--max-ttl", "4s"], {}, "--max-ttl"),
        (["--workers", "0"], {}, "--workers"),
        (["--workers", "65"], {}, "--workers"),
        ([], {"LESSOR_NEW_STORE": "maybe"}, "LESSOR_NEW_STORE"),
        (["--store", "mysql://x"], {}, "--store"),
        (["--store", "redis+sentinel://a:1"], {}, "--store"),
        (["--store", "redis+sentinel://a,b/service"], {}, "--store"),
        (["--store", "redis+cluster://a:1,b/"], {}, "--store"),
        (["--store", "redis+cluster://a:1/service"], {}, "--store"),
        (["--store", "redis+cluster://a:1", "--store-durable"], {}, "--store-durable"),
        (["--store", "unix://"], {}, "--store"),
        (["--max-connections", "0"], {}, "--max-connections"),
        (["--sessions-kept", "0"], {}, "--sessions-kept"),
        (["--audit-kept", "30d"], {}, "--audit-kept"),
        (["--log-format", "xml"], {}, "--log-format"),
        (["--nonsense"], {}, "command line"),
        (["extra"], {}, "command line"),
        (["--config", "/does/not/exist"], {}, "/does/not/exist"),
        ([], {"LESSOR_STORE_FILE": "/does/not/exist"}, "LESSOR_STORE_FILE"),
        ([], {"LESSOR_TEST_MARGIN": "0s"}, "LESSOR_TEST_MARGIN"),
        ([], {"LESSOR_TEST_FAILOVER": "1s"}, "LESSOR_TEST_FAILOVER"),
    ],
)
def test_a_wrong_setting_is_named_with_its_place(
    argv: list[str], environ: dict[str, str], place: str
) -> None:
    assert refusal(*argv, **environ).startswith(place + ": ")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("drain = true", "drain"),
        ('max_ttl = "x"', "max_ttl"),
        ("listen = 7420", "listen"),
        ("max_connections = 1.5", "max_connections"),
        ("data_dir = 3", "data_dir"),
        ('shutdown = "1s"', "shutdown"),
    ],
)
def test_a_wrong_setting_in_the_file_is_named_with_file_and_name(
    tmp_path: Path, line: str, name: str
) -> None:
    file = tmp_path / "lessor.toml"
    file.write_text(line)
    assert refusal("--config", str(file)).startswith(f"{file}: {name}: ")


def test_a_file_that_is_not_toml_is_told_where_it_breaks(tmp_path: Path) -> None:
    file = tmp_path / "lessor.toml"
    file.write_text("a = 1\nb =\n")
    assert "line 2" in refusal("--config", str(file))


def test_a_refused_store_url_is_never_quoted() -> None:
    assert "hunter2" not in refusal("--store", "mysql://:hunter2@x")
    assert "hunter2" not in refusal("--store", "redis://:hunter2@x:notaport")
    assert "hunter2" not in refusal("--store", "redis+sentinel://:hunter2@x,y/service")


def test_test_settings_need_the_word_that_this_is_a_test() -> None:
    found = load("--max-ttl", "2s", LESSOR_TEST="1", LESSOR_TEST_MIN_TTL="1s")
    assert (found.min_ttl_ms, found.max_ttl_ms) == (1_000, 2_000)


@pytest.mark.parametrize("flag", ["--log-format=json", "--log-format json"])
def test_json_is_spoken_even_when_the_rest_of_the_configuration_is_wrong(flag: str) -> None:
    assert config.wanted_log_format(["--listen", "x", *flag.split()], {}) == "json"
    assert config.wanted_log_format(["--nonsense"], {"LESSOR_LOG_FORMAT": "json"}) == "json"
    assert config.wanted_log_format([], {}) == "console"


def test_json_is_spoken_when_the_file_asks_for_it(tmp_path: Path) -> None:
    file = tmp_path / "lessor.toml"
    file.write_text('log_format = "json"\nnonsense = 1\n')
    assert config.wanted_log_format(["--config", str(file)], {}) == "json"
    assert config.wanted_log_format(["--config", "/does/not/exist"], {}) == "console"


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load("--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(option.flag in text for option in config.OPTIONS)
