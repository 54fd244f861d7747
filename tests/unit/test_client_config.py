"""The client's configuration: variables, then the file; what is wrong is named, no key is shown."""

from pathlib import Path

import pytest
from lessor.config import ClientConfig, load
from lessor.errors import UsageError

KEY = "lsr_k1_S3cret"


def with_file(home: Path, text: str) -> dict[str, str]:
    folder = home / ".config" / "lessor"
    folder.mkdir(parents=True)
    (folder / "client.toml").write_text(text)
    (folder / "client.toml").chmod(0o600)
    return {"HOME": str(home)}


def complaint(environ: dict[str, str]) -> str:
    with pytest.raises(UsageError) as caught:
        load(environ)
    assert "S3cret" not in str(caught.value)
    assert caught.value.exit_code == 78
    return str(caught.value)


def test_two_variables_are_enough() -> None:
    config = load({"LESSOR_URL": "http://a:1/, https://b", "LESSOR_API_KEY": f" {KEY}\n"})
    assert config.urls == ("http://a:1", "https://b")
    assert config.api_key == KEY
    assert (config.license, config.ca_file, config.warnings) == ("", "", ())


def test_the_file_fills_in_what_no_variable_says(tmp_path: Path) -> None:
    environ = with_file(
        tmp_path,
        'url = ["http://a:1", "http://b:2"]\n'
        f'api_key = "{KEY}"\n'
        'license = "kre"\n'
        'ca_file = "~/ca.pem"\n',
    )
    config = load(environ)
    assert config.urls == ("http://a:1", "http://b:2")
    assert (config.api_key, config.license) == (KEY, "kre")
    assert config.ca_file == f"{tmp_path}/ca.pem"
    over = load({**environ, "LESSOR_URL": "http://c:3", "LESSOR_LICENSE": "other"})
    assert (over.urls, over.license) == (("http://c:3",), "other")


def test_the_file_may_lie_in_another_configuration_directory(tmp_path: Path) -> None:
    (tmp_path / "lessor").mkdir()
    (tmp_path / "lessor" / "client.toml").write_text('url = "http://a:1"')
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "LESSOR_API_KEY": KEY, "HOME": "/nowhere"}
    assert load(environ).urls == ("http://a:1",)


def test_a_key_file_is_read_and_one_for_all_eyes_is_warned_about(tmp_path: Path) -> None:
    path = tmp_path / "ci.key"
    path.write_text(KEY + "\n")
    environ = {"LESSOR_URL": "http://a", "LESSOR_API_KEY_FILE": str(path)}
    path.chmod(0o640)
    assert load(environ).warnings == ()
    path.chmod(0o644)
    config = load(environ)
    assert config.api_key == KEY
    assert config.warnings == (
        f"{path} holds an API key and can be read by others: chmod 600 {path}",
    )


def test_a_configuration_file_with_a_key_for_all_eyes_is_warned_about(tmp_path: Path) -> None:
    environ = with_file(tmp_path, f'url = "http://a"\napi_key = "{KEY}"')
    path = tmp_path / ".config" / "lessor" / "client.toml"
    path.chmod(0o644)
    assert f"{path} holds an API key" in load(environ).warnings[0]


def test_the_key_is_not_in_the_representation() -> None:
    assert "S3cret" not in repr(ClientConfig(("http://a",), KEY))


@pytest.mark.parametrize("url", ["", " ", ","])
def test_without_a_url_the_variable_is_named(url: str) -> None:
    assert "set LESSOR_URL" in complaint({"LESSOR_URL": url, "LESSOR_API_KEY": KEY})


@pytest.mark.parametrize("url", ["lessor.example", "ftp://a", "http://a,nonsense"])
def test_a_bad_url_is_named_with_its_variable(url: str) -> None:
    text = complaint({"LESSOR_URL": url, "LESSOR_API_KEY": KEY})
    assert text.startswith("LESSOR_URL: ")
    assert "http://" in text


def test_without_a_key_the_variable_is_named() -> None:
    assert "set LESSOR_API_KEY_FILE" in complaint({"LESSOR_URL": "http://a"})


def test_a_malformed_key_is_refused_without_being_quoted(tmp_path: Path) -> None:
    text = complaint({"LESSOR_URL": "http://a", "LESSOR_API_KEY": "S3cret"})
    assert text.startswith("LESSOR_API_KEY: not an API key")
    path = tmp_path / "key"
    path.write_bytes(b"\xffS3cret")
    text = complaint({"LESSOR_URL": "http://a", "LESSOR_API_KEY_FILE": str(path)})
    assert text.startswith(f"LESSOR_API_KEY_FILE ({path}): ")


def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        text = complaint({"LESSOR_URL": "http://a", "LESSOR_API_KEY_FILE": str(path)})
        assert text.startswith(f"LESSOR_API_KEY_FILE: {path} cannot be read: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('url = \nlicense = "kre"', "line 1"),
        ('url = "http://a"\nurll = "x"', "'urll' is not a setting; known are api_key"),
        ("url = 5", "url must be a string"),
        ("url = [1]", "url must be a string"),
        ('url = "a"\napi_key = "S3cret"', "url: 'a' is not a URL"),
        ('url = "http://a"\napi_key = "S3cret"', "api_key: not an API key"),
        ('url = "http://a"\napi_key_file = "~/none"', "none cannot be read"),
        (f'api_key = "{KEY}\n', "line 1"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_its_place(
    tmp_path: Path, text: str, expected: str
) -> None:
    found = complaint(with_file(tmp_path, text))
    assert str(tmp_path / ".config" / "lessor" / "client.toml") in found
    assert expected in found


def test_a_file_that_is_not_utf_8_is_named_and_not_quoted(tmp_path: Path) -> None:
    environ = with_file(tmp_path, "")
    path = tmp_path / ".config" / "lessor" / "client.toml"
    path.write_bytes(b"api_key = 'S3cret\xff'")
    assert complaint(environ) == f"{path} is not TOML: not UTF-8"


@pytest.mark.parametrize("name", ["\udce9", "a\nb", "x" * 129])
def test_a_license_that_no_server_could_know_is_named_with_its_place(
    name: str, tmp_path: Path
) -> None:
    text = complaint({"LESSOR_URL": "http://a", "LESSOR_API_KEY": KEY, "LESSOR_LICENSE": name})
    assert text.startswith("LESSOR_LICENSE: a license name has 1 to 128 characters")
    if name.isprintable():
        environ = with_file(tmp_path, f'url = "http://a"\napi_key = "{KEY}"\nlicense = "{name}"')
        assert "client.toml: license: a license name has" in complaint(environ)


def test_the_home_directory_may_be_short_in_the_variable_as_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "ci.key").write_text(KEY)
    environ = {"LESSOR_URL": "http://a", "HOME": str(tmp_path)}
    assert load({**environ, "LESSOR_API_KEY_FILE": "~/ci.key"}).api_key == KEY
