"""Where the server is and which key to show: variables first, then ``client.toml``.

======================  =====================  =========================================
variable                ``client.toml``        meaning
======================  =====================  =========================================
``LESSOR_URL``          ``url``                one URL or several, tried in turn
``LESSOR_API_KEY``      ``api_key``            the key itself
``LESSOR_API_KEY_FILE`` ``api_key_file``       a file that holds it (``~`` is understood)
``LESSOR_LICENSE``      ``license``            which license, where no option says it
``SSL_CERT_FILE``       ``ca_file``            the only certificates to trust, as PEM
======================  =====================  =========================================

The file is ``$XDG_CONFIG_HOME/lessor/client.toml``, by default ``~/.config/lessor/client.toml``.
A key is never an option of a command: everybody on the machine could read it there.
"""

from __future__ import annotations

import os
import stat

from lessor_protocol.credentials import split_api_key
from lessor_protocol.fields import MAX_NAME, is_plain_text

from .endpoint import Endpoint
from .errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_KEY_FILE = 4_096
_FILE_KEYS = frozenset({"url", "api_key", "api_key_file", "license", "ca_file"})


class ClientConfig:
    """A complete configuration. ``warnings`` are for the person at the terminal."""

    __slots__ = ("api_key", "ca_file", "environ", "license", "urls", "warnings")

    def __init__(
        self,
        urls: tuple[str, ...],
        api_key: str,
        *,
        license: str = "",
        ca_file: str = "",
        environ: Mapping[str, str] | None = None,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.urls = urls
        self.api_key = api_key
        self.license = license
        self.ca_file = ca_file
        self.environ = environ or {}
        self.warnings = warnings

    def __repr__(self) -> str:
        return f"ClientConfig(urls={self.urls!r}, license={self.license!r})"


def load(environ: Mapping[str, str]) -> ClientConfig:
    """Read the configuration.

    Raises ``UsageError``, which names the variable, or the file and the place in it, and never
    quotes a key.
    """
    path = config_path(environ)
    settings = _read_file(path)
    warnings: list[str] = []
    if settings.get("api_key") and _readable_by_others(path):
        warnings.append(f"{path} holds an API key and can be read by others: chmod 600 {path}")
    config = ClientConfig(
        _urls(environ, path, settings),
        _api_key(environ, path, settings, warnings),
        license=_license(environ, path, settings),
        ca_file=environ.get("SSL_CERT_FILE") or _expand(settings.get("ca_file", ""), environ),
        environ=environ,
    )
    config.warnings = tuple(warnings)
    return config


def config_path(environ: Mapping[str, str]) -> str:
    """Where ``client.toml`` lies, whether or not it exists; empty without a home directory."""
    base = environ.get("XDG_CONFIG_HOME")
    if not base:
        home = environ.get("HOME")
        if not home:
            return ""
        base = f"{home}/.config"
    return f"{base}/lessor/client.toml"


def _read_file(path: str) -> dict[str, str]:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs 3 ms at every start
            data = file.read(1 << 16)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    import tomllib  # noqa: PLC0415 - only who has the file pays for the parser

    try:
        settings = tomllib.loads(data.decode())
    except ValueError as error:  # TOML and UTF-8 alike; the text names line and column
        raise UsageError(f"{path} is not TOML: {_without_secrets(error)}") from None
    found: dict[str, str] = {}
    for name, value in settings.items():
        if name not in _FILE_KEYS:
            known = ", ".join(sorted(_FILE_KEYS))
            raise UsageError(f"{path}: {name!r} is not a setting; known are {known}")
        if name == "url" and isinstance(value, list) and all(isinstance(v, str) for v in value):
            value = ",".join(value)  # noqa: PLW2901 - both spellings mean the same
        if not isinstance(value, str):
            raise UsageError(f"{path}: {name} must be a string")
        found[name] = value
    return found


def _without_secrets(error: ValueError) -> str:
    # A UnicodeDecodeError quotes bytes of the file; a TOML error quotes at most one character.
    return "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


def _urls(environ: Mapping[str, str], path: str, settings: dict[str, str]) -> tuple[str, ...]:
    source, text = "LESSOR_URL", environ.get("LESSOR_URL", "")
    if not text.strip():
        source, text = f"{path}: url", settings.get("url", "")
    urls = tuple(part.strip().rstrip("/") for part in text.split(",") if part.strip())
    if not urls:
        raise UsageError(
            "no server is known: set LESSOR_URL, for example LESSOR_URL=http://127.0.0.1:7420"
        )
    for url in urls:
        try:
            Endpoint.parse(url)
        except ValueError as error:
            raise UsageError(f"{source}: {error}") from None
    return urls


def _api_key(
    environ: Mapping[str, str], path: str, settings: dict[str, str], warnings: list[str]
) -> str:
    if environ.get("LESSOR_API_KEY"):
        source, text = "LESSOR_API_KEY", environ["LESSOR_API_KEY"]
    elif environ.get("LESSOR_API_KEY_FILE"):
        file = _expand(environ["LESSOR_API_KEY_FILE"], environ)
        source, text = (
            f"LESSOR_API_KEY_FILE ({file})",
            _read_key("LESSOR_API_KEY_FILE", file, warnings),
        )
    elif settings.get("api_key"):
        source, text = f"{path}: api_key", settings["api_key"]
    elif settings.get("api_key_file"):
        file = _expand(settings["api_key_file"], environ)
        source, text = f"{path}: api_key_file", _read_key(f"{path}: api_key_file", file, warnings)
    else:
        raise UsageError(
            "no API key is known: set LESSOR_API_KEY_FILE to a file that holds it, "
            "or LESSOR_API_KEY"
        )
    try:
        split_api_key(text.strip())
    except ValueError as error:
        raise UsageError(f"{source}: {error}") from None
    return text.strip()


def _license(environ: Mapping[str, str], path: str, settings: dict[str, str]) -> str:
    source, name = "LESSOR_LICENSE", environ.get("LESSOR_LICENSE", "")
    if not name:
        source, name = f"{path}: license", settings.get("license", "")
    if len(name) > MAX_NAME or not is_plain_text(name):
        raise UsageError(
            f"{source}: a license name has 1 to {MAX_NAME} characters of UTF-8, "
            "none of them control characters"
        )
    return name


def _read_key(source: str, path: str, warnings: list[str]) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs 3 ms at every start
            data = file.read(_LONGEST_KEY_FILE)
    except OSError as error:
        raise UsageError(f"{source}: {path} cannot be read: {error.strerror}") from None
    if _readable_by_others(path):
        warnings.append(f"{path} holds an API key and can be read by others: chmod 600 {path}")
    return data.decode("ascii", "replace")


def _readable_by_others(path: str) -> bool:
    try:
        return bool(os.stat(path).st_mode & stat.S_IROTH)  # noqa: PTH116 - pathlib costs 3 ms
    except OSError:
        return False


def _expand(path: str, environ: Mapping[str, str]) -> str:
    return environ.get("HOME", "~") + path[1:] if path.startswith("~/") else path
